/**
 * The variables of a trainer on Ascend that every host gets alike, each with its reason. What differs from host to host, CANN's own and the
 * name of the interface, is the agent's (`src/workers/host-environment.ts`); docs/operations.md has the table for people.
 */
import type { Argument } from '../../plan/plan.js';

/** Of one collective. The longest that one rank may be alone at something, and that is a save; CANN's default. */
const EXEC_SECONDS = 1836;

export const TRAINING_ENVIRONMENT: Readonly<Record<string, Argument>> = {
  // As finetune_internvl3_8B.sh sets it. Ranks of a gang start minutes apart when a host compiles or reads its checkpoint from a cold disk.
  HCCL_CONNECT_TIMEOUT: '1200',
  // Said aloud, since the two belong together and a host's own environment could change one of them.
  HCCL_EXEC_TIMEOUT: String(EXEC_SECONDS),
  // Must be above the one before it, or the events of a slow collective expire before the collective.
  HCCL_EVENT_TIMEOUT: String(EXEC_SECONDS + 32),
  // HCCL binds 32 ports from here on. install.sh reserves them, and a rendezvous is opened below 30000: the two never meet.
  HCCL_IF_BASE_PORT: '60000',
  // With 1 there would be no plog file, and with it the cause of a death.
  ASCEND_SLOG_PRINT_TO_STDOUT: '0',
  // Errors only: below that a plog turns over within minutes, and the first error is the one that counts.
  ASCEND_GLOBAL_LOG_LEVEL: '3',
  // Of this generation and node alone: under HOME the next generation would write over it.
  ASCEND_PROCESS_LOG_PATH: { hole: 'work', then: '/plog' },
  // These three as the published script has them: two task queues, fused operators, each rank's threads on the cores of its chip.
  TASK_QUEUE_ENABLE: '2',
  COMBINED_ENABLE: '1',
  CPU_AFFINITY_CONF: '1',
  // Sequences differ in length from batch to batch: fixed segments would fragment until "NPU out of memory" with gigabytes free.
  PYTORCH_NPU_ALLOC_CONF: 'expandable_segments:True',
  // As the published script has it: with so many shapes the default of 10,000 prepared operators is thrown out again and again. 2 GB of host memory.
  ACLNN_CACHE_LIMIT: '100000',
  // Only to satisfy a check of Megatron's; an NPU does not read it.
  CUDA_DEVICE_MAX_CONNECTIONS: '1',
  // A checkpoint holds Megatron's arguments as a Python object, which torch 2.6 and newer refuse to load otherwise.
  TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: '1',
  // What a rank says must be in the log before it dies.
  PYTHONUNBUFFERED: '1',
};

/**
 * Left to itself, each of the three libraries takes the first interface by name, which on a host with several is another one than on its
 * neighbour: the gang then waits for sockets until its connect time-out (EI0006).
 */
export function interfaceVariables(name: string): Readonly<Record<string, string>> {
  // "=": exactly this one. Without it HCCL takes every interface whose name begins so.
  return { HCCL_SOCKET_IFNAME: `=${name}`, GLOO_SOCKET_IFNAME: name, TP_SOCKET_IFNAME: name };
}

/**
 * torch's own watchdog must be the last to lose patience: it tears the process down at once, and CANN would not get to write which peer it
 * was waiting for. Megatron's default of ten minutes is below both of HCCL's.
 */
export const TIMEOUT_FLAGS: readonly string[] = [
  '--distributed-timeout-minutes',
  String(Math.ceil(EXEC_SECONDS / 60) + 9),
];
