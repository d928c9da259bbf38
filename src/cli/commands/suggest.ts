/** `anneal plan FILE --suggest`: which layouts fit, best first, each with its reason. */
import { jobOf } from '../../backends/job-of.js';
import type { Given } from '../../backends/forecast/given.js';
import { showLayout, suggestLayouts, type Suggestions } from '../../backends/forecast/suggest.js';
import { percent } from '../../plan/numbers.js';
import { textTable } from '../../report/table.js';
import { showRefusals } from '../../spec/refusal.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { parseFile } from '../spec-file.js';

interface SuggestFlags {
  readonly json?: boolean;
  readonly suggest?: number | true;
}

/** What a spec may ask for at most. */
const MOST_HOSTS = 1000;

/** The spec's own layout may be one that does not work: finding another is the point. */
export async function suggest(fileName: string, flags: SuggestFlags, given: Given): Promise<number> {
  const parsed = await parseFile(fileName);
  if ('refusals' in parsed) {
    if (flags.json) printJson({ refusals: parsed.refusals });
    else note(showRefusals(fileName, parsed.refusals));
    return EXIT_CODES.refused.code;
  }
  const { spec } = parsed;
  if (spec.runtime.kind !== 'ascend')
    throw new CommandError(
      'refused',
      `--suggest knows Ascend NPUs only, and ${fileName} has runtime.kind "${spec.runtime.kind}".`,
    );
  const hosts = typeof flags.suggest === 'number' ? flags.suggest : spec.layout.hosts;
  if (hosts > MOST_HOSTS)
    throw new CommandError('refused', `--suggest ${String(hosts)}: a gang has at most ${String(MOST_HOSTS)} hosts.`);
  const suggestions = suggestLayouts(jobOf(spec), hosts, given);
  if (flags.json) printJson({ hosts, npusPerHost: spec.layout.npusPerHost, ...suggestions });
  else print(showSuggestions(suggestions, hosts, spec.layout.npusPerHost));
  return EXIT_CODES.ok.code;
}

function showSuggestions({ ranked, refused, tooLarge }: Suggestions, hosts: number, npusPerHost: number): string {
  const where = `${String(hosts)} ${hosts === 1 ? 'host' : 'hosts'} of ${String(npusPerHost)} NPUs`;
  const passedOver = `${String(tooLarge)} layouts do not fit the memory, ${String(refused)} break a rule (mostly: the batch does not divide).`;
  const best = ranked[0];
  if (best === undefined) return `No layout is possible on ${where}. ${passedOver}`;
  const rows = ranked.map((one, index) => [
    String(index + 1),
    showLayout(one.layout),
    String(one.dataParallel),
    percent(one.work),
    (one.peakBytes / 2 ** 30).toFixed(1),
    one.why,
  ]);
  return [
    best.fits
      ? `Layouts for ${where}, best first. Counted, not measured: what NPUs say to each other costs extra.`
      : `No layout fits ${where}; these come nearest.`,
    textTable(['', 'LAYOUT', 'DP', 'WORK', 'GIB', 'WHY'], rows),
    passedOver,
    '',
    'The first in a spec:',
    `layout: ${JSON.stringify(best.layout)}`,
  ].join('\n');
}
