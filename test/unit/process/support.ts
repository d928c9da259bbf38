/** Real processes for the tests: a folder and a run id of their own for each, and the promise that nothing stays behind. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { stopEverything } from '../../../src/process/kill.js';
import { inheritedEnvironment } from '../../../src/process/marker.js';
import type { TrainerMarker } from '../../../src/process/marker.js';
import { readProcess } from '../../../src/process/proc.js';
import type { LaunchSpec } from '../../../src/process/supervisor.js';
import { trainerDir } from '../../../src/process/trainer-files.js';
import { poll } from '../../../src/process/wait.js';

const repository = fileURLToPath(new URL('../../../', import.meta.url));
const fakeTorchrun = fileURLToPath(new URL('./fake-torchrun.py', import.meta.url));

export const environment = inheritedEnvironment(process.env);

/** A host with trainers: folder, lock, markers. */
export class Sandbox {
  readonly root: string;
  readonly runId = `test-${randomUUID()}`;
  readonly lockFile: string;
  private readonly markers: TrainerMarker[] = [];

  private constructor(root: string) {
    this.root = root;
    this.lockFile = join(root, 'host.lock');
  }

  static async create(): Promise<Sandbox> {
    return new Sandbox(await mkdtemp(join(tmpdir(), 'anneal-process-')));
  }

  marker(generation = 1, nodeRank = 0): TrainerMarker {
    const marker = { workRoot: this.root, runId: this.runId, generation, nodeRank };
    this.markers.push(marker);
    return marker;
  }

  /** A launch of the fake torchrun, or of `argv`. */
  async spec(mode: string, options: Partial<LaunchSpec> & { workers?: number } = {}): Promise<LaunchSpec> {
    const { workers = 2, ...rest } = options;
    const marker = rest.marker ?? this.marker();
    const dir = trainerDir(join(this.root, 'runs'), marker);
    await mkdir(dir, { recursive: true });
    return {
      dir,
      marker,
      lockFile: this.lockFile,
      argv: ['python3', '-I', '-S', fakeTorchrun, dir, String(workers), mode],
      env: environment,
      cwd: this.root,
      leaseTtlMs: 60_000,
      graceMs: 5_000,
      ...rest,
    };
  }

  async dispose(): Promise<void> {
    for (const marker of this.markers) await stopEverything({ marker, lockFile: this.lockFile, graceMs: 0 });
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Waits for a condition with a deadline; the test fails with `what` when it does not come. */
export async function eventually<T>(what: string, check: () => T | undefined | false, timeoutMs = 10_000): Promise<T> {
  const value = await poll(() => check() || undefined, { timeoutMs, pollMs: 20 });
  if (value === undefined) throw new Error(`Not within ${timeoutMs} ms: ${what}.`);
  return value;
}

/** The pids that the fake torchrun noted, once all of them are there: launcher first, then workers, then loaders. */
export async function startedPids(dir: string, workers = 2): Promise<readonly number[]> {
  const numbers = [...Array(workers).keys()];
  const names = ['launcher', ...numbers.map((n) => `worker-${n}`), ...numbers.map((n) => `loader-${n}`)];
  await eventually(`all of ${names.join(', ')} in ${dir}`, () => names.every((name) => existsSync(join(dir, name))));
  return names.map((name) => Number(readFileSync(join(dir, name), 'utf8')));
}

export function living(pids: readonly number[]): readonly number[] {
  return pids.filter((pid) => readProcess(pid) !== undefined);
}

export async function allGone(pids: readonly number[]): Promise<void> {
  await eventually(`the end of ${pids.join(', ')}`, () => living(pids).length === 0);
}

/** A folder of `src` as plain JavaScript, so that a Node process without a test runner can be the agent. */
export async function compileFolder(folder: string, into: string): Promise<string> {
  const from = join(repository, 'src', folder);
  const to = join(into, 'dist', folder);
  await mkdir(to, { recursive: true });
  await writeFile(join(into, 'package.json'), '{"type":"module"}');
  await symlink(join(repository, 'node_modules'), join(into, 'node_modules'));
  for (const name of await readdir(from)) {
    if (!name.endsWith('.ts')) {
      await cp(join(from, name), join(to, name), { recursive: true });
      continue;
    }
    const source = await readFile(join(from, name), 'utf8');
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    };
    const { outputText } = ts.transpileModule(source, { compilerOptions });
    await writeFile(join(to, name.replace(/\.ts$/, '.js')), outputText);
  }
  return to;
}
