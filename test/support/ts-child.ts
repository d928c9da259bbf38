/** Lets a test start real Node processes from our TypeScript: an entry and all it imports, transpiled once into a temporary folder. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';

const repository = resolve(import.meta.dirname, '../..');

export interface TsProgram {
  /** Starts `node <entry> ...args`; its standard input and output are piped, its errors go to the test's. */
  readonly start: (...args: readonly string[]) => ChildProcess;
  /** Starts it and answers what it printed; rejects if it does not end with 0. */
  readonly run: (...args: readonly string[]) => Promise<string>;
  readonly dispose: () => Promise<void>;
}

/** `entry` relative to the repository, as `test/conformance/children/race.ts`. */
export async function tsProgram(entry: string): Promise<TsProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'anneal-child-'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'));
  const seen = new Set([resolve(repository, entry)]);
  for (const path of seen) {
    const text = await readFile(path, 'utf8');
    for (const imported of ts.preProcessFile(text, true, true).importedFiles) {
      if (imported.fileName.startsWith('.'))
        seen.add(resolve(dirname(path), imported.fileName.replace(/\.js$/, '.ts')));
    }
    const target = join(folder, relative(repository, path).replace(/\.ts$/, '.js'));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, transpile(text));
  }
  const program = join(folder, entry.replace(/\.ts$/, '.js'));
  const start = (...args: readonly string[]): ChildProcess =>
    spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  return {
    start,
    run: (...args) => outputOf(start(...args)),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
}

function transpile(text: string): string {
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

function outputOf(child: ChildProcess): Promise<string> {
  return new Promise((answer, reject) => {
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) answer(output);
      else reject(new Error(`The child ended with ${String(code ?? signal)}.`));
    });
  });
}
