/** What a run has left in the store and on its hosts, as a test reads it: files, facts and plans, no engine in between. */
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { StageResult } from '../../src/contract/activities.js';
import type { ArtifactName, Plan } from '../../src/plan/plan.js';
import type { RunFact } from '../../src/plan/run-log.js';
import type { Place } from './place.js';

type Store = Pick<Place, 'storeFolder'>;

/** Relative paths of all files below a folder, sorted; empty when there is none. */
export async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

export async function readPlan({ storeFolder }: Store, runId: string): Promise<Plan> {
  return JSON.parse(await readFile(join(storeFolder, 'runs', runId, 'plan.json'), 'utf8')) as Plan;
}

/** The run's log, oldest first. */
export async function readLog({ storeFolder }: Store, runId: string): Promise<readonly RunFact[]> {
  const folder = join(storeFolder, 'runs', runId, 'log');
  const names = (await filesBelow(folder)).filter((name) => name.endsWith('.json'));
  return Promise.all(names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8')) as RunFact));
}

type Commit = Extract<RunFact, { fact: 'commit' }>;
export async function commitsOf(cluster: Store, runId: string): Promise<readonly Commit[]> {
  return (await readLog(cluster, runId)).filter((fact) => fact.fact === 'commit');
}

interface ResumeRecord {
  readonly runId: string;
  readonly result: StageResult;
}

interface Recorded extends ResumeRecord {
  /** The folder with all records of its stage key. */
  readonly folder: string;
}

/** The first record of every stage key whose result holds this artifact. */
async function recordsOf({ storeFolder }: Store, artifact: ArtifactName): Promise<readonly Recorded[]> {
  const names = (await filesBelow(join(storeFolder, 'resume'))).filter((name) => name.endsWith('000001.json'));
  const records = await Promise.all(
    names.map(async (name) => {
      const file = join(storeFolder, 'resume', name);
      return { folder: dirname(file), ...(JSON.parse(await readFile(file, 'utf8')) as ResumeRecord) };
    }),
  );
  return records.filter(({ result }) => artifact in result.artifacts);
}

/** What a run has made itself and recorded: the folder of the artifact in the store, and its digest. */
export async function madeBy(
  cluster: Store,
  runId: string,
  artifact: ArtifactName,
): Promise<{ readonly folder: string; readonly digest: string }> {
  const found = (await recordsOf(cluster, artifact)).find((record) => record.runId === runId)?.result.artifacts[
    artifact
  ];
  if (found === undefined) throw new Error(`Run ${runId} has recorded no ${artifact}.`);
  return { folder: join(cluster.storeFolder, found.prefix), digest: found.digest };
}

/** Takes the resume points away whose result holds this artifact, as if nobody had made it yet. Returns how many they were. */
export async function forget(cluster: Store, artifact: ArtifactName): Promise<number> {
  const records = await recordsOf(cluster, artifact);
  for (const { folder } of records) await rm(folder, { recursive: true });
  return records.length;
}

/** Turns one bit over in the middle of a file, in place, as a bad disk does. */
export async function flipByte(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    const at = Math.floor(size / 2);
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, at);
  } finally {
    await file.close();
  }
}
