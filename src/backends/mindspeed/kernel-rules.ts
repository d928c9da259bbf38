/**
 * The signatures of Linux's kernel as data, for what a trainer cannot say of its own end. Those of `KERNEL_CAUSES` are a fault of the host whatever
 * the trainer says; `KERNEL_HINTS` come up without harm too, and count where the trainer names no error of its own.
 */
import type { Rule } from './failure-kinds.js';

/** Of one process, which must have been the trainer's. */
export const OOM_KILL: Rule = {
  kind: 'out-of-host-memory',
  sentence: 'The kernel killed a process of the trainer for want of memory',
  // Up to Linux 5.0 "Kill process", then "Killed process".
  signs: [/Memory cgroup out of memory: Kill(ed)? process \d+/, /Out of memory: Kill(ed)? process \d+/],
  advice: 'Look at data workers, ACLNN_CACHE_LIMIT and pinned memory, and at what else runs on that host.',
};

export const KERNEL_CAUSES: readonly Rule[] = [
  {
    kind: 'host-broken',
    sentence: 'The memory of the host has an error that could not be corrected',
    signs: [/due to hardware memory corruption/],
    advice: 'Look at its DIMMs (ipmitool sel list, ras-mc-ctl).',
  },
  {
    kind: 'host-broken',
    sentence: 'A device of the host has failed on its bus',
    signs: [/PCIe Bus Error: severity=Uncorrect(ed|able) \(Fatal\)/],
    advice: 'Compare the address in it with that of the NPUs ("npu-smi info").',
  },
  {
    kind: 'host-broken',
    sentence: 'The kernel of the host has failed',
    signs: [/Kernel panic/, /hard LOCKUP/],
  },
];

export const KERNEL_HINTS: readonly Rule[] = [
  {
    kind: 'host-suspect',
    sentence: 'A device of the host had an error on its bus',
    signs: [/PCIe Bus Error: severity=Uncorrect(ed|able) \(Non-Fatal\)/],
    advice: 'Compare the address in it with that of the NPUs ("npu-smi info").',
  },
  {
    kind: 'host-suspect',
    sentence: 'A network port of the host lost its link',
    // Of the drivers ixgbe and i40e, hns3 (Kunpeng) and mlx5; not of virtual ports, which come and go.
    signs: [/NIC Link is Down\b/, /\bhns3 \S+ \S+: link down\b/i, /\bmlx5_core \S+ \S+: Link down\b/],
    advice: 'Look at the cable and at the port of the switch.',
  },
  {
    kind: 'host-suspect',
    sentence: 'A disk of the host has failed',
    signs: [/EXT4-fs error/, /\bXFS \(\S+\): .*(corruption|I\/O error)/i, /\bI\/O error, dev \w+/],
    advice: 'Look at it with smartctl.',
  },
  {
    kind: 'host-suspect',
    sentence: 'A process of the host hung in the kernel',
    signs: [/blocked for more than \d+ seconds/],
    advice: 'Rule out a network file system that was away, and a disk that had too much to do.',
  },
];
