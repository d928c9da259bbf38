/** Looks at what every host has: its Python, disk, shared memory, ports, clock, and the way to the store. */
import { execFile } from 'node:child_process';
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { ephemeralRange, findFreePort, type PortRange } from '../process/free-port.js';
import { openStore } from '../storage/open-store.js';
import type { StoreSettings } from '../storage/store-settings.js';
import type { ClockReadings, PortReadings, PythonReadings, Space } from './host-readings.js';
import type { Reading } from './reading.js';

const PYTHON_LIMIT_MS = 30_000;
const STORE_LIMIT_MS = 10_000;

/** Reads versions without an import: that of torch takes seconds. `adjtimex` is how the kernel tells of its clock; see adjtimex(2). */
const LOOK = `
import ctypes, importlib.metadata, json, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
def clock():
    timex = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        return None
    return {"maxError": ctypes.c_long.from_buffer(timex, 24).value, "status": ctypes.c_int.from_buffer(timex, 40).value}
print(json.dumps({"version": platform.python_version(), "packages": {n: version(n) for n in sys.argv[1:]}, "clock": clock()}))
`;
const STA_UNSYNC = 0x40;

interface Look extends PythonReadings {
  readonly clock: { readonly maxError: number; readonly status: number } | null;
}

/** One start of Python answers for both. */
export async function lookWithPython(
  python: string,
  packages: readonly string[],
): Promise<{ readonly python: Reading<PythonReadings>; readonly clock: Reading<ClockReadings> }> {
  const look = await promisify(execFile)(python, ['-I', '-c', LOOK, ...packages], {
    ...{ timeout: PYTHON_LIMIT_MS, killSignal: 'SIGKILL', env: { PATH: '/usr/bin:/bin' } },
  }).then(
    ({ stdout }) => ({ value: JSON.parse(stdout) as Look }),
    (error: unknown) => ({ unread: `${python}: ${firstLine(error)}` }),
  );
  if ('unread' in look) return { python: look, clock: look };
  const { clock, ...found } = look.value;
  return {
    python: { value: found },
    clock:
      clock === null
        ? { unread: 'adjtimex: the kernel does not answer' }
        : { value: { isSynchronised: (clock.status & STA_UNSYNC) === 0, maxErrorMs: clock.maxError / 1000 } },
  };
}

function firstLine(error: unknown): string {
  const { code, stderr } = error as { readonly code?: unknown; readonly stderr?: string };
  if (code === 'ENOENT') return 'it is not there';
  const last = stderr?.trim().split('\n').at(-1);
  return last === undefined || last === '' ? String(error) : last;
}

/** Of the file system of a folder, or where the folder would be made. */
export async function spaceAt(path: string): Promise<Reading<Space>> {
  try {
    const { bavail, blocks, bsize } = await statfs(path);
    return { value: { path, freeBytes: bavail * bsize, totalBytes: blocks * bsize } };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) return spaceAt(dirname(path));
    return { unread: `${path}: ${String(code)}` };
  }
}

export async function portReadings(): Promise<PortReadings> {
  const reserved = await readFile('/proc/sys/net/ipv4/ip_local_reserved_ports', 'utf8').catch(() => '');
  // IPv6 may be switched off.
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'utf8').catch(() => undefined)),
  );
  return {
    ephemeral: await ephemeralRange(),
    reserved: portRanges(reserved),
    listening:
      tables[0] === undefined
        ? { unread: '/proc/net/tcp: it cannot be read' }
        : { value: listeningPorts(tables.join('\n')) },
    rendezvous: await findFreePort().then(
      (value) => ({ value }),
      (error: unknown) => ({ unread: error instanceof Error ? error.message : String(error) }),
    ),
  };
}

/** `8080,60000-60031`, as the kernel writes it. */
export function portRanges(text: string): readonly PortRange[] {
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].map(([, from, to]) => ({
    from: Number(from),
    to: Number(to ?? from),
  }));
}

/** Local ports in the state LISTEN (0A) of /proc/net/tcp. */
export function listeningPorts(table: string): readonly number[] {
  const found = [...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm)];
  return [...new Set(found.map(([, port = '']) => Number.parseInt(port, 16)))].sort((a, b) => a - b);
}

/** Asks for an object that nobody writes: that it is not there is an answer. */
export async function reachStore(settings: StoreSettings): Promise<Reading<string>> {
  const asked = (async (): Promise<Reading<string>> => {
    try {
      if (settings.folder !== undefined) return await reachFolder(settings.folder);
      const store = await openStore(settings);
      await store.head('specs/asked-by-doctor.json');
      return { value: store.url };
    } catch (error) {
      return { unread: error instanceof Error ? error.message : String(error) };
    }
  })();
  const late = new Promise<Reading<string>>((resolve) => {
    const why = `The store did not answer within ${String(STORE_LIMIT_MS / 1000)} s.`;
    setTimeout(resolve, STORE_LIMIT_MS, { unread: why }).unref();
  });
  return Promise.race([asked, late]);
}

/** Not through the store, which would make a folder that is not there: below a mount that is missing, on the wrong disk. */
async function reachFolder(folder: string): Promise<Reading<string>> {
  if (!(await stat(folder)).isDirectory()) return { unread: `${folder}: it is no folder` };
  await access(folder, constants.W_OK);
  return { value: folder };
}
