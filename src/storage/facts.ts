/**
 * Facts: create-once objects with a number under a prefix, as `runs/a/log/000012.json`. The writer gives the number and the body, so a
 * retried writer is harmless and a writer that has been replaced is stopped by the first body that differs.
 */
import { StoreError } from './errors.js';
import { canonicalJson, sha256Hex } from './hashing.js';
import type { ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';

export interface Fact {
  /** Counts from 1. */
  readonly number: number;
  /** Plain JSON, as it was appended; its type is its reader's business. */
  readonly body: unknown;
}

const digits = 6;
const maxNumber = 10 ** digits - 1;
const factName = /^(\d{6})\.json$/;
/** Reads at once: enough to hide a store's latency, few enough for a laptop. */
const parallelReads = 8;

/** `<prefix>/000012.json`. Throws a RangeError for a number that has no such name. */
export function factKey(prefix: string, number: number): string {
  if (!Number.isInteger(number) || number < 1 || number > maxNumber) {
    throw new RangeError(`A fact has a whole number from 1 to ${maxNumber}, not ${number}.`);
  }
  return `${folderOf(prefix)}${String(number).padStart(digits, '0')}.json`;
}

/** Writes fact `number`, or finds it with exactly this body (`same`). Error: `Conflict` if it has another body. */
export async function appendFact(
  store: ObjectStore,
  prefix: string,
  number: number,
  body: unknown,
): Promise<'created' | 'same'> {
  const key = factKey(prefix, number);
  const text = canonicalJson(body);
  const outcome = await store.create(key, text);
  if (outcome !== 'different') return outcome;
  const existing = await store.read(key);
  const found = existing === undefined ? 'no longer there' : sha256Hex(existing);
  throw new StoreError(
    'Conflict',
    `Fact ${key} in ${store.url} has another body (SHA-256 ${found}) than the one to append (${sha256Hex(text)}): ` +
      'another writer has taken this number, and this writer must stop.',
  );
}

/** All facts in the order of their numbers, which begin at 1. Errors: `NotFound` for a gap, `DigestMismatch` for one that is no JSON. */
export async function readFacts(store: ObjectStore, prefix: string): Promise<readonly Fact[]> {
  const numbers = await numbersOf(store, prefix);
  numbers.forEach((number, index) => {
    if (number === index + 1) return;
    const message = `Fact ${factKey(prefix, index + 1)} is missing in ${store.url}, though ${factKey(prefix, number)} is there; restore it from a backup.`;
    throw new StoreError('NotFound', message);
  });
  return runParallel(numbers, parallelReads, undefined, (number) => readFact(store, prefix, number));
}

/** The facts from number `from` on, up to the first that is not there: what a follower of a log asks again and again. */
export async function factsFrom(store: ObjectStore, prefix: string, from: number): Promise<readonly Fact[]> {
  const facts: Fact[] = [];
  for (let number = from; (await store.head(factKey(prefix, number))) !== undefined; number += 1)
    facts.push(await readFact(store, prefix, number));
  return facts;
}

/** The fact with the highest number, gaps or not; undefined if there is none. */
export async function highest(store: ObjectStore, prefix: string): Promise<Fact | undefined> {
  const number = (await numbersOf(store, prefix)).at(-1);
  return number === undefined ? undefined : readFact(store, prefix, number);
}

async function numbersOf(store: ObjectStore, prefix: string): Promise<readonly number[]> {
  const folder = folderOf(prefix);
  const numbers: number[] = [];
  // A name that no writer of facts makes is no fact: a stray file must not stop a run.
  for await (const { key } of store.list(folder)) {
    const digitsFound = factName.exec(key.slice(folder.length))?.[1];
    if (digitsFound !== undefined && Number(digitsFound) > 0) numbers.push(Number(digitsFound));
  }
  return numbers;
}

async function readFact(store: ObjectStore, prefix: string, number: number): Promise<Fact> {
  const key = factKey(prefix, number);
  const bytes = await store.read(key);
  if (bytes === undefined)
    throw new StoreError('NotFound', `Fact ${key} in ${store.url} was deleted while it was read.`);
  try {
    return { number, body: JSON.parse(bytes.toString('utf8')) as unknown };
  } catch (error) {
    throw new StoreError('DigestMismatch', `Fact ${key} in ${store.url} is damaged: it is not JSON.`, error);
  }
}

function folderOf(prefix: string): string {
  return prefix.endsWith('/') ? prefix : `${prefix}/`;
}
