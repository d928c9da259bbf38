/** How commands are declared: one way to describe them, to read their numbers, and to end them. */
import { type Command, InvalidArgumentError } from 'commander';

export function addCommand(parent: Command, name: string, description: string, example: string): Command {
  return parent.command(name).description(description).addHelpText('after', `\nExample:\n  ${example}`).exitOverride();
}

export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be a whole number, ${String(least)} or more.`);
    return value;
  };
}

/** For an option that may be given more than once. */
export function eachTime(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** Runs a command's action and makes its number the exit code. */
export async function run(action: Promise<number>): Promise<void> {
  process.exitCode = await action;
}
