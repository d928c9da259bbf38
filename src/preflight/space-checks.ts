/** Whether a host has the space that a training needs: on the disk of its work root, and in shared memory. */
import { type CheckResult, finding, unreadFinding } from './finding.js';
import type { HostReadings, Space } from './host-readings.js';
import type { Reading } from './reading.js';

type Check = (host: HostReadings) => CheckResult;

const GB = 1e9;
const MB = 1e6;

/** One save of InternVL3 8B with its optimizer; a host holds the two that are on their way and the one that is being written. */
const SAVE_BYTES = 111 * GB;
const SAVES = 3;
/** The CPU trainer's models are toys; below this a log or a copy of the data already fails. */
const CPU_DISK_BYTES = GB;

export const diskCheck: Check = ({ disk, runtime, leastDiskBytes }) => {
  const [needed, better] = runtime === 'ascend' ? [SAVE_BYTES, SAVES * SAVE_BYTES] : [CPU_DISK_BYTES, CPU_DISK_BYTES];
  return spaceCheck('disk', 'The disk of the work root', disk, {
    ...{ least: leastDiskBytes ?? needed, better },
    why: (isLeast) => {
      if (isLeast && leastDiskBytes !== undefined) return 'anything at all';
      if (runtime === 'cpu') return 'logs, data and saves of a small model';
      return isLeast ? 'one save of InternVL3 8B' : `${String(SAVES)} saves of InternVL3 8B`;
    },
    remedy:
      'Free some, or put "workRoot" on a larger disk; what may be deleted is in docs/operations.md, "A disk is full".',
  });
};

/** Per NPU 4 workers x 2 samples ahead x 13 tiles (12 and a thumbnail) of 448 x 448 x 3 float32. */
const SHM_BYTES_PER_NPU = 4 * 2 * 13 * 448 * 448 * 3 * 4;

export const shmCheck: Check = ({ shm, runtime, npus, ascend }) => {
  // The CPU trainer loads its data in its own process.
  const least = runtime === 'ascend' ? SHM_BYTES_PER_NPU * (npus ?? ascend?.chips.length ?? 1) : 1;
  return spaceCheck('/dev/shm', '/dev/shm', shm, {
    ...{ least, better: least },
    why: () => (runtime === 'ascend' ? 'the samples that the data loaders of all NPUs hand over' : 'anything at all'),
    remedy:
      'Delete what dead processes have left there (torch_*, sem.*) while no trainer runs; in a container give it more: --ipc=host or --shm-size.',
  });
};

function spaceCheck(
  check: string,
  name: string,
  read: Reading<Space>,
  of: {
    readonly least: number;
    readonly better: number;
    readonly why: (isLeast: boolean) => string;
    readonly remedy: string;
  },
): CheckResult {
  if ('unread' in read)
    return { check, state: 'unknown', findings: [unreadFinding('refuse', name, read.unread, of.remedy)] };
  const { freeBytes, totalBytes, path } = read.value;
  const state = `${size(freeBytes)} of ${size(totalBytes)} free (${path})`;
  if (freeBytes >= of.better) return { check, state, findings: [] };
  const isRefused = freeBytes < of.least;
  return {
    ...{ check, state },
    findings: [
      finding(isRefused ? 'refuse' : 'warn', {
        sentence: `${name} has ${size(freeBytes)} free.`,
        value: size(freeBytes),
        rule: `${isRefused ? 'must' : 'should'} have ${size(isRefused ? of.least : of.better)} free for ${of.why(isRefused)}`,
        remedy: of.remedy,
      }),
    ],
  };
}

function size(bytes: number): string {
  return bytes >= GB ? `${(bytes / GB).toFixed(0)} GB` : `${(bytes / MB).toFixed(0)} MB`;
}
