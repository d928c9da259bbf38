/**
 * The signatures of CANN, HCCL, the driver and torch_npu as data, after Huawei's error texts and its base of log signatures. The first rule
 * that matches counts, so they stand from the surest to the vaguest. A code alone is no sign: a count of samples can be the same number.
 */
import type { Rule } from './failure-kinds.js';

/** `error code is 507054`, `runtime result = 507899`, `retcode 507010`. */
export function code(...numbers: readonly number[]): RegExp {
  return new RegExp(`(?:err|ret|code|result)\\w*[^\\d|]{0,24}\\b(?:${numbers.join('|')})\\b`, 'i');
}

export const ASCEND_CAUSES: readonly Rule[] = [
  {
    kind: 'host-broken',
    sentence: 'The memory of an NPU has an error of several bits',
    signs: [/HBM MULTI BIT ECC/, /hbm Multi-bit ECC/i, code(507054)],
    advice: 'Keep the output of "npu-smi info -t ecc" of that host.',
    inPlog: true,
  },
  {
    kind: 'host-suspect',
    sentence: 'The memory of an NPU has an error that could not be corrected',
    signs: [/UCE ERROR/, /SUSPECT MEM ERROR/, /reason=\[?(suspect )?device mem error/, code(507053, 507055)],
    advice: 'Look at "npu-smi info -t ecc" of that host.',
    inPlog: true,
  },
  {
    kind: 'host-broken',
    sentence: 'The task scheduler of an NPU is dead',
    signs: [/Device lost heartb(ea|ear)t/i, /loses the heartbeat/, code(507010)],
    inPlog: true,
  },
  {
    kind: 'host-broken',
    sentence: 'The driver has lost its channel to an NPU',
    signs: [/hdc disconnect/i, /by hdc down/, /HDC (recv msg|send) err ret\((16|25)\)/, code(507901)],
    inPlog: true,
  },
  {
    kind: 'host-broken',
    sentence: 'The driver gives no access to the NPUs',
    signs: [/ret is -(8005|8020)\b/, /\bEL0001\b/, /Get device count failed/, code(207004, 507033)],
    advice: 'Another container may hold them, or the agent lacks devices or rights: see "anneal doctor" there.',
    inPlog: true,
  },
  {
    kind: 'host-suspect',
    sentence: 'An earlier process still holds an NPU',
    signs: [/\bEJ0001\b/, /last training process is running/, /NPU is busy/],
    advice: 'Look for it with "npu-smi info" and "fuser -v /dev/davinci*".',
  },
  {
    kind: 'host-suspect',
    sentence: 'The network port of an NPU is down',
    signs: [/\bEJ0002\b/, /network port is down/, /ra hdc message process failed ret\(-67\)/],
    advice: 'Look at "hccn_tool -i CHIP -link -g" and "-link_stat -g".',
    inPlog: true,
  },
  {
    kind: 'host-suspect',
    sentence: 'A port that the trainer needs is taken',
    signs: [
      /\b(EJ0003|EI0019|EI0020)\b/,
      /Failed to bind the IP port/,
      /listen on ip.*port.*fail/i,
      /address already in use/i,
      /errno: 98\b/,
    ],
    advice: 'The next generation meets on another port; HCCL binds 60000 to 60031 on a host and 16666 on a chip.',
  },
  {
    kind: 'setup-wrong',
    sentence: 'An address or the rank table does not fit the hosts',
    signs: [/\b(EJ0004|EI0004|EI0014|EI0017)\b/, /ranktable .*invalid/, /Check ip fail/, /not found in the nic list/],
    advice: 'Look at "ascend.interface" of the agents and at /etc/hccn.conf.',
  },
  {
    kind: 'setup-wrong',
    sentence: 'The versions of CANN differ between the hosts',
    signs: [/\bEI0008\b/, /versions are inconsistent/],
    advice: 'Compare the hosts with "anneal doctor".',
  },
  {
    kind: 'setup-wrong',
    sentence: 'The ranks do not run the same',
    signs: [/\bEI0005\b/, /inconsistent between ranks/, /CMD information .* check fail/],
  },
  {
    kind: 'out-of-memory',
    sentence: 'The trainer ran out of memory',
    signs: [/NPU out of memory/, /OutOfMemoryError/, /\b(EL0004|EI0007|EI0011|ERR00006)\b/, code(207001, 207018)],
  },
  {
    kind: 'setup-wrong',
    sentence: 'CANN refuses a setting or an argument',
    signs: [
      /\b(EI0001|EI0003|EI0016|EE1001|EE2002|EH000[1-9]|EK000\d|EZ[0-8]\d{3})\b/,
      /\bERR0[0-4]00[1237]\b/,
      /context is empty|ctx is NULL/,
      code(107002),
    ],
  },
  {
    kind: 'host-suspect',
    sentence: 'A link between NPUs of the host has failed',
    signs: [/(HCCS|UB) LINK ERROR/, /HCCL OP RETRY FAILED/, code(507056, 507904)],
    inPlog: true,
  },
  {
    kind: 'link-failed',
    sentence: 'A packet to another NPU was lost for good',
    // Not "error cqe" alone: the advice that comes with EI0002 tells people to look for it.
    signs: [/\b(EI0013|EI0018)\b/, /error cqe (status|occurred)/i, /ROCE CQE ERROR/],
    advice: 'Look for LINK DOWN in "hccn_tool -i CHIP -link_stat -g" of both hosts that it names.',
    inPlog: true,
  },
  {
    kind: 'link-failed',
    sentence: 'A copy between NPUs has failed',
    signs: [/\bEI0012\b/, /sdma error/i, code(507013)],
    inPlog: true,
  },
  {
    kind: 'host-suspect',
    sentence: 'A kernel has failed on an NPU',
    signs: [
      /aicore timeout/,
      /Aicore kernel execute failed/,
      /vector core (exception|timeout|execution)/i,
      /aicpu exception/,
      /\bE30008\b/,
      code(507014, 507015, 507016, 507017, 507018, 507034, 507035, 507036, 507042, 507043, 507044, 507045),
    ],
    advice: 'The same kernel on other hosts too means the software, on this one alone the chip.',
    inPlog: true,
  },
  {
    kind: 'host-suspect',
    sentence: 'The driver of the NPUs failed',
    signs: [/drv internal error/, /driver error:internal/, code(507899)],
    advice: 'Look at "npu-smi info -t health" of that host.',
    inPlog: true,
  },
];

/** Words of CANN and torch_npu about another rank. */
export const ASCEND_ECHOES: readonly RegExp[] = [
  /\b(EI0002|EI0006|EI0015|EE1002|EI9999)\b/,
  /Notify register times out/,
  /Getting socket times out/,
  /wait socket establish timeout/,
  /topo exchange .* get socket timeout/,
  /stream sync timeout/,
  /SUSPECT REMOTE ERROR/,
  /FORCE STOP/,
  /Watchdog caught/,
  /\bERR02(200|011)\b/,
  // The call that failed; why is in the lines after it.
  /HCCL function error/,
  /Heartbeat Lost/,
  /Stuck Occurred/,
  code(107019, 107020, 107022, 507011, 507046, 507047, 507048, 507057),
];
