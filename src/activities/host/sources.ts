/** Fetch: what a source holds at this moment, and its files in the store; a transfer that was cut goes on where it was. */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { FetchInput, FetchItem, IoActivities } from '../../contract/activities.js';
import { exists } from '../../process/trainer-files.js';
import type { RunSpec } from '../../spec/run.js';
import type { SourceSpec } from '../../spec/source.js';
import { walkFiles } from '../../storage/disk.js';
import { downloadSources } from '../../storage/download.js';
import { publishArtifact } from '../../storage/file-set.js';
import { digestOf } from '../../storage/hashing.js';
import { isStoreError } from '../../storage/errors.js';
import { runParallel } from '../../storage/parallel.js';
import { failure, orHostFailure } from '../fail.js';
import { reporting, type Reporter } from '../progress.js';
import { readSpec, readSpecAt } from '../run-documents.js';
import type { HostDeps } from './deps.js';
import { weightsOf } from './save-folder.js';
import { stageFolder } from './work-folders.js';

/** Questions to a server at once; it is asked about each file without a known digest. */
const PARALLEL_HEADS = 8;
const HEAD_LIMIT_MS = 30_000;

export function createSources(deps: HostDeps): Pick<IoActivities, 'fingerprintSource' | 'fetchSource'> {
  const { store, workRoot, facts } = deps;
  return {
    fingerprintSource: (input) =>
      orHostFailure(facts.name, () =>
        reporting(facts.name, async ({ signal }) => {
          const source = sourceOf(await readSpecAt(store, input.specKey), input.item);
          return { fingerprint: await orSource(() => fingerprint(source, signal, input.item)) };
        }),
      ),
    fetchSource: (input) =>
      orHostFailure(facts.name, () =>
        reporting(facts.name, async (reporter) => {
          const source = sourceOf(await readSpec(store, input.runId), input.item);
          await checkUnchanged(source, input, reporter);
          const target = stageFolder(workRoot, input.runId, input.item);
          const folder = await orSource(() => bring(source, target, reporter));
          const name = ARTIFACTS[input.item];
          const artifact = await publishArtifact(store, folder, {
            only: await orSource(() => partOf(folder, input.item)),
            signal: reporter.signal,
            onProgress: ({ bytesDone, bytesTotal }) => {
              reporter.say({ message: `stores ${name}`, done: bytesDone, total: bytesTotal });
            },
          });
          // Before a resume point can be recorded: what is found under this fingerprint later must be what it stands for.
          await checkUnchanged(source, input, reporter);
          return { artifacts: { [name]: artifact }, facts: {} };
        }),
      ),
  };
}

function sourceOf(spec: RunSpec, item: FetchInput['item']): SourceSpec {
  const { model, data, training } = spec;
  const source = { 'fetch-model': model.source, 'fetch-data': data.source, 'fetch-start': training.initFrom }[item];
  if (source === undefined) throw failure('SpecInvalid', 'The spec names no save folder to begin from.');
  return source;
}

const ARTIFACTS = { 'fetch-model': 'model', 'fetch-data': 'data', 'fetch-start': 'start' } as const;

/** What of a folder is taken; undefined for all. A save folder holds older iterations and, six times as large, optimizers. */
async function partOf(folder: string, item: FetchItem): Promise<readonly string[] | undefined> {
  return item === 'fetch-start' ? weightsOf(folder) : undefined;
}

async function checkUnchanged(
  source: SourceSpec,
  { fingerprint: pinned, item }: FetchInput,
  { signal }: Reporter,
): Promise<void> {
  if ((await orSource(() => fingerprint(source, signal, item))) === pinned) return;
  throw failure(
    'SourceChanged',
    `The source ${source.uri} has changed since this run looked at it. Start the run again when nobody writes there.`,
  );
}

/** A folder of this host is stored from where it lies; files of a server come into the stage's folder first. */
async function bring(source: SourceSpec, target: string, { say, signal }: Reporter): Promise<string> {
  if (source.uri.startsWith('file://')) {
    const folder = fileURLToPath(source.uri);
    // Another host may have been asked what it holds.
    if (!(await exists(folder)))
      throw failure('SourceNotFound', `The source ${source.uri} does not exist on this host; check the path.`);
    return folder;
  }
  const base = source.uri.endsWith('/') ? source.uri : `${source.uri}/`;
  const sources = (source.files ?? []).map(({ path, sha256 }) => ({
    url: new URL(encodeURI(path), base).href,
    path,
    sha256,
  }));
  await downloadSources(sources, target, {
    signal,
    onProgress: ({ bytesDone, bytesTotal }) => {
      say({ message: `downloads ${source.uri}`, done: bytesDone, total: bytesTotal });
    },
  });
  return target;
}

/**
 * Changes whenever the source does, without reading it whole: sizes and times of change of a folder's files, or what the
 * server says of each file whose digest the spec does not give.
 */
export async function fingerprint(source: SourceSpec, signal: AbortSignal, item: FetchItem): Promise<string> {
  if (source.uri.startsWith('file://')) {
    const folder = fileURLToPath(source.uri);
    const paths = (await partOf(folder, item)) ?? (await walkFiles(folder));
    const stats = await runParallel(paths, PARALLEL_HEADS, signal, async (path) => {
      const { size, mtimeNs } = await lstat(join(folder, path), { bigint: true });
      return [path, String(size), String(mtimeNs)];
    });
    if (stats.length === 0)
      throw failure('SourceNotFound', `The source ${source.uri} holds no file on this host; check the path.`);
    return digestOf(stats);
  }
  const base = source.uri.endsWith('/') ? source.uri : `${source.uri}/`;
  const states = await runParallel(source.files ?? [], PARALLEL_HEADS, signal, async ({ path, sha256 }, abort) => {
    if (sha256 !== undefined) return [path, sha256];
    const response = await fetch(new URL(encodeURI(path), base), {
      method: 'HEAD',
      signal: AbortSignal.any([abort, AbortSignal.timeout(HEAD_LIMIT_MS)]),
    });
    const named = (name: string): string => response.headers.get(name) ?? '';
    return [path, named('etag'), named('last-modified'), named('content-length')];
  });
  return digestOf(states);
}

/** So many attempts, up to a minute apart, are a quarter of an hour: then an address that never answers is taken for wrong. */
const ATTEMPTS = 20;

/** A source's errors are not the store's: what is missing or changed is the user's to put right, what is away may come back. */
async function orSource<Result>(body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    if (isStoreError(error, 'NotFound')) throw failure('SourceNotFound', error.message, undefined, error);
    if (isStoreError(error, 'DigestMismatch')) throw failure('SourceChanged', error.message, undefined, error);
    if (!isStoreError(error, 'Unavailable') && !(error instanceof TypeError)) throw error;
    const { attempt } = Context.current().info;
    const message = `The source does not answer (attempt ${String(attempt)}): ${error.message}`;
    const type = 'SourceUnavailable';
    throw ApplicationFailure.create({ type, message, nonRetryable: attempt >= ATTEMPTS, cause: error });
  }
}
