/** `--given NAME=NUMBER`: numbers of a site, by the names that the forecast knows. */
import { GIVEN_NAMES, type Given, type GivenName } from '../backends/forecast/given.js';
import { CommandError } from './exit-codes.js';

export function readGiven(texts: readonly string[] = []): Given {
  return Object.fromEntries(texts.map(readOne));
}

function readOne(text: string): readonly [GivenName, number] {
  const [, name = '', number = ''] = /^(\w+)=(\S+)$/.exec(text) ?? [];
  if (!isName(name))
    throw new CommandError(
      'refused',
      `--given ${text} is none of the numbers that the forecast knows:\n` +
        Object.entries(GIVEN_NAMES)
          .map(([known, meaning]) => `  ${known}=NUMBER  ${meaning}`)
          .join('\n'),
    );
  const value = Number(number);
  if (!Number.isFinite(value) || value <= 0)
    throw new CommandError('refused', `--given ${text}: ${name} must be a number greater than 0.`);
  return [name, value];
}

function isName(name: string): name is GivenName {
  return Object.hasOwn(GIVEN_NAMES, name);
}
