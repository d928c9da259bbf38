/** Each row of the rules with a line that a trainer or CANN has said, and what a gang does by it; no row and no sign without one. */
import { describe, expect, test } from 'vitest';
import { backendFor } from '../../../src/backends/backend.js';
import { CAUSES, ECHOES, isAdvice, isEchoLine, LAST_RESORT } from '../../../src/backends/mindspeed/failure-rules.js';

const { classifyExit, plogErrors } = backendFor({ kind: 'ascend' });
const exit = { reason: 'exited', rc: 1 } as const;
const saying = (lines: readonly string[], plog: readonly string[] = []) =>
  classifyExit({ exit, lines, plog, nodeRank: 1, iterations: 300 });

/** As torch_npu and CANN's runtime say that a call has failed. */
const npu = (code: number): string =>
  `RuntimeError: npuSynchronizeDevice:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:508 NPU function error: AclrtSynchronizeDeviceWithTimeout, error code is ${String(code)}`;
const runtime = (code: number): string =>
  `wait for compute device to finish failed, runtime result = ${String(code)}.[FUNC:ReportCallError][FILE:log_inner.cpp][LINE:148]`;
const cann = (code: string, text: string): string => `${code}: [PID: 7277] 2024-11-28-11:59:30.645.648 ${text}`;

/** By the sentence of the row. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  'The memory of an NPU has an error of several bits': [
    'HBM MULTI BIT ECC, Uncorrectable ECC, device_id=3, event_id=0x80e01801, time us=67672363666.[FUNC:ProcHBMRas]',
    '[ERROR] Log HBM MULTI BIT ECC ERROR, set is_hbm_ecc_error param is true',
    'device 0 hbm Multi-bit ECC error',
    npu(507054),
  ],
  'The memory of an NPU has an error that could not be corrected': [
    'RuntimeError: UCE ERROR. Time(us): 67672363666',
    'RuntimeError: SUSPECT MEM ERROR',
    'rtStreamSynchronize execution failed, reason=[suspect device mem error]',
    'rtStreamSynchronize execution failed, reason=device mem error',
    ...[507053, 507055].map(npu),
  ],
  'The task scheduler of an NPU is dead': [
    '[ERROR] RUNTIME(4179,python):2026-06-08-19:04:04.698.981 [device_error_proc.cc:91] Device lost heartbeat, device_id=3',
    'Device lost heartbeart',
    'Device[3] loses the heartbeat',
    runtime(507010),
  ],
  'The driver has lost its channel to an NPU': [
    'hdc disconnect, device_id=5',
    'recv msg failed by hdc down',
    'HDC recv msg err ret(25)',
    'HDC send err ret(16)',
    runtime(507901),
  ],
  'The driver gives no access to the NPUs': [
    'dcmi module initialize failed. ret is -8005',
    'dcmi model initialized failed, because the device is used. ret is -8020',
    cann('EL0001', 'The device cannot be reached.'),
    'Get device count failed, retCode=0x7020014',
    ...[207004, 507033].map(npu),
  ],
  'An earlier process still holds an NPU': [
    cann('EJ0001', 'Failed to initialize the HCCP process. Reason: Maybe the last training process is running.'),
    'Failed to initialize the HCCP process. Reason: Maybe the last training process is running.',
    'NPU is busy, check again',
  ],
  'The network port of an NPU is down': [
    cann('EJ0002', 'The network port is down.Suggest: check the link'),
    'The network port is down.',
    'ra hdc message process failed ret(-67)',
  ],
  'A port that the trainer needs is taken': [
    cann('EJ0003', 'Failed to bind the IP port. Reason: The IP address and port have been bound already.'),
    cann('EI0019', 'Failed to enable listening for the host network adapter socket. Reason: in use'),
    'Failed to bind the IP port. Reason: The IP address and port have been bound already.',
    '[Vnic]Listen on ip[10.0.0.1] and port[16666] fail',
    'listen on ip[10.0.0.1] port[16666] fail',
    'RuntimeError: The server socket has failed to listen on any local network address. port: 29400, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use',
    'socket bind failed, errno: 98',
  ],
  'An address or the rank table does not fit the hosts': [
    cann('EI0004', 'Failed to parse the ranktable file /t/hccl.json. Reason: no server_list'),
    cann('EI0014', 'Value 9 for ranktable variable rank_id is invalid. Expected value: 0 to 7.'),
    'The ranktable or rank is invalid,Reason:[device_ip]. Please check the configured ranktable. [/t/hccl.json]',
    'Check ip fail. Reason: 10.0.0.1',
    'host ip[10.0.0.1] not found in the nic list',
  ],
  'The versions of CANN differ between the hosts': [
    cann('EI0008', 'The HCCL versions are inconsistent. The local version is 8.3, while the remote version is 8.2.'),
    'The HCCL versions are inconsistent. The local version is 8.3, while the remote version is 8.2.',
  ],
  'The ranks do not run the same': [
    cann('EI0005', 'The parameters of operator AllReduce differ.'),
    'The parameters of operator AllReduce are inconsistent between ranks, parameter count is 4 on the local rank and 8 on the remote rank.',
    'CMD information [count:4] check fail',
  ],
  'The trainer ran out of memory': [
    '[rank3]: RuntimeError: NPU out of memory. Tried to allocate 260.00 MiB (NPU 0; 28.50 GiB total capacity; 10.24 GiB already allocated)',
    'torch.OutOfMemoryError: CUDA out of memory',
    'torch_npu.OutOfMemoryError: no memory',
    'RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB',
    cann('EI0011', 'Failed to allocate 2147483648 bytes of NPU memory.'),
    '[ERROR] 2024-05-21-11:57:54 (PID:927000, Device:3, RankID:3) ERR00006 PTA memory error',
    ...[207001, 207018].map(npu),
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory",
    'MemoryError: Unable to allocate 8.00 GiB',
  ],
  'CANN refuses a setting or an argument': [
    cann('EI0001', 'Value x for environment variable HCCL_IF_BASE_PORT is invalid. Expected value: 1024 to 65520.'),
    cann('EI0003', 'Failed to verify parameters of operator AllReduce.'),
    cann('EZ3002', 'Optype [Foo] of Ops kernel [AIcoreEngine] is unsupported. Reason: the data type.'),
    '[ERROR] 2024-05-21-11:57:54 (PID:927000, Device:3, RankID:3) ERR01002 OPS invalid type',
    'ctx is NULL!',
    'rtSetDevice failed, reason=[context is empty]',
    npu(107002),
  ],
  'A link between NPUs of the host has failed': [
    'RuntimeError: HCCS LINK ERROR',
    'RuntimeError: HCCL OP RETRY FAILED',
    ...[507056, 507904].map(npu),
  ],
  'A packet to another NPU was lost for good': [
    cann(
      'EI0013',
      'An error CQE occurred during operator execution. Local information: server 10.0.0.1, device ID 1, device IP 10.1.0.1.',
    ),
    'error cqe status[12]',
    'ExceptionType:[Error cqe Occurred]',
    'ROCE CQE ERROR',
  ],
  'A copy between NPUs has failed': [
    'Execution_Error_SDMA(EI0012): SDMA memory copy task exception occurred. Remote rank: [3].',
    'fftsplus sdma error, device_id=3',
    npu(507013),
  ],
  'A kernel has failed on an NPU': [
    'rtStreamSynchronize execution failed, reason=[aicore timeout]',
    'Aicore kernel execute failed, device_id=0, stream_id=15',
    'EE9999: rtDeviceSynchronizeWithTimeout execution failed, reason=vector core timeout',
    'E39999[PID: 4179] 2026-06-08-19:04:04.698.981 (E39999):  Kernel task happen error, retCode=0x2a, [aicpu exception].',
    cann('E30008', 'AI CPU operator execution timed out.'),
    ...[507014, 507015, 507016, 507017, 507018, 507034, 507035, 507036, 507042, 507043, 507044, 507045].map(npu),
  ],
  'The driver of the NPUs failed': ['drv internal error', 'reason=[driver error:internal error]', runtime(507899)],
  'The trainer found no checkpoint that it could load': [
    'WARNING: could not find the metadata file /w/load/latest_checkpointed_iteration.txt',
    '/w/load/iter_0000020 does not exist, though the tracker names its checkpoint.',
    '[Rank 1] error: --load /w/load holds no checkpoint, and --exit-on-missing-checkpoint is set.',
    '[Rank 1] error: Ranks see different checkpoints in their --load folders (iteration, release): [[20, 0], [40, 0]].',
    "FileNotFoundError: [Errno 2] No such file or directory: '/w/load/iter_0000020/mp_rank_00/model_optim_rng.pt'",
  ],
  'The loss is no longer a number': [
    'AssertionError: Rank 1: found NaN in local forward loss calculation. Device: 1',
    'RuntimeError: Unexpected result nan (message=...)',
  ],
  'The trainer refused its arguments': [
    'usage: pretrain_vlm.py [-h]',
    'pretrain_vlm.py: error: unrecognized arguments: --foo',
    '[Rank 0] pretrain_vlm.py: error: argument --tp: invalid int value',
  ],
  'A disk of the host is full': [
    'OSError: [Errno 28] No space left on device',
    'write failed: ENOSPC',
    cann('EK0204', 'No room for the profile.'),
    'file write failed',
  ],
  'The shared memory of the host is full': [
    '  traceback : Signal 7 (SIGBUS) received by PID 4242',
    "RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.",
    'ERROR: Unexpected trouble in worker. This might be caused by insufficient shared memory (shm).',
  ],
  'A disk of the host fails': [
    'OSError: [Errno 116] Stale file handle',
    'OSError: [Errno 5] Input/output error',
    'EXT4-fs error (device nvme0n1p1): ext4_find_entry',
  ],
  'The trainer cannot be loaded': [
    "ModuleNotFoundError: No module named 'megatron'",
    "[rank3]: ImportError: cannot import name 'VLMModel'",
    'ImportError: libhccl.so: cannot open shared object file: No such file or directory',
    'python: error while loading shared libraries: libascend_hal.so',
  ],
  'CANN failed and does not say at what': ['E39999: Inner Error!', 'Inner Error, Please contact support engineer!'],
};

const ECHO_SAMPLES: readonly string[] = [
  cann('EI0002', 'A timeout occurs when the Notify register waits for execution. Waiting peer rank: 3.'),
  'The wait execution of the Notify register times out. Reason: The Notify register has not received the Notify record from remote rank [unknown].',
  cann('EI0006', 'Getting socket times out. Reason: 1'),
  'Getting socket times out.',
  'wait socket establish timeout, role[0] rank[1] timeout[120]',
  'topo exchange server get socket timeout! timeout[120]',
  'reason=[stream sync timeout]',
  'RuntimeError: SUSPECT REMOTE ERROR',
  'RuntimeError: FORCE STOP.',
  'Watchdog caught collective operation timeout: WorkHCCL(SeqNum=9, OpType=ALLREDUCE, Timeout(ms)=1860000) ran for 1861000 milliseconds before timing out.',
  '[ERROR] 2024-05-21-11:57:54 (PID:927000, Device:3, RankID:3) ERR02200 DIST call hccl api failed.',
  'RuntimeError: createHCCLComm:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:1508 HCCL function error: HcclGetRootInfo(&hcclID), error code is 7',
  'Cluster Exception Location[IP/ID]:[90.90.92.240/1], Arrival Time:[Thu Nov 28 11:56:34 2024], Discoverer:[90.90.92.240/0], ExceptionType:[Heartbeat Lost Occurred]',
  'Cluster Exception Location[IP/ID]:[10.222.9.255/2], ExceptionType:[Stuck Occurred]',
  ...[107019, 107020, 107022, 507011, 507046, 507047, 507048, 507057].map(npu),
  'ConnectionResetError: [Errno 104] Connection reset by peer',
  'torch.distributed.DistNetworkError: The client socket has failed to connect. Connection refused',
  'RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:43920',
  'RuntimeError: Timed out waiting 1800000ms for send operation to complete',
  'torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError',
  'torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: the connection to the store has failed',
  'torch.distributed.DistNetworkError: lost',
  'torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.',
  'BrokenPipeError: [Errno 32] Broken pipe',
  'RuntimeError: Socket Timeout',
  'recvValue failed on SocketImpl(fd=7)',
  'torch.distributed.DistNetworkError: failed to recv, got 0 bytes',
];

describe('every row', () => {
  const rows = [...CAUSES, ...LAST_RESORT];

  test('has samples, and no sample is without its row', () => {
    expect(new Set(rows.map(({ sentence }) => sentence))).toEqual(new Set(Object.keys(SAMPLES)));
  });

  test.each(rows.flatMap(({ sentence, signs }) => signs.map((sign) => [sentence, sign] as const)))(
    '%s, by %s: is in a sample of its row',
    (sentence, sign) => {
      expect(SAMPLES[sentence]?.filter((line) => sign.test(line.trimStart()))).not.toEqual([]);
    },
  );

  test.each(
    rows.flatMap(({ sentence, kind }) => (SAMPLES[sentence] ?? []).map((line) => [sentence, kind, line] as const)),
  )('%s: %s by "%s"', (sentence, kind, line) => {
    const verdict = saying(['words before it', line, 'words after it']);
    expect(verdict.kind).toBe(kind);
    expect(verdict.message.startsWith(`${sentence}: ${line.trim().slice(0, 60)}`)).toBe(true);
  });
});

describe('every echo', () => {
  test.each(ECHOES.map((sign) => [sign]))('%s is in a sample', (sign) => {
    expect(ECHO_SAMPLES.filter((line) => sign.test(line))).not.toEqual([]);
  });

  test.each(ECHO_SAMPLES)('is one: %s', (line) => {
    expect(isEchoLine(line)).toBe(true);
    expect(saying([line]).kind).toBe('peer-lost');
  });

  test('gives way to a cause, whichever is said first, and to one in the logs of CANN', () => {
    const root = npu(507054);
    expect(saying([...ECHO_SAMPLES, root]).kind).toBe('host-broken');
    expect(saying([root, ...ECHO_SAMPLES]).kind).toBe('host-broken');
    expect(saying(ECHO_SAMPLES, [root]).kind).toBe('host-broken');
  });

  test('that names who was lost is quoted before all others', () => {
    const [, named] = [ECHO_SAMPLES[0] ?? '', ECHO_SAMPLES[12] ?? ''];
    expect(saying([named, ...ECHO_SAMPLES.filter((line) => line !== named)]).message).toContain('Cluster Exception');
  });
});

describe('no sign of anything', () => {
  test.each([
    // What comes with EI0002, EI0006 and EI0012 in the releases of CANN that explain themselves.
    '        Possible Cause: 1. An exception occurs during the execution on some NPUs in the cluster.',
    "        4. Check for CQE errors in the plog (grep -rn 'error cqe'). If so, check the network connection status.",
    '        Solution: 1. Check whether the network port is down and ranktable is invalid.',
    '[rank3]:         2. The peer process exits abnormally in advance.',
    ' [2025-10-28 11:38:26] iteration     3961/    5000 | consumed samples:       507054 | elapsed time per iteration (ms): 20954.1 | learning rate: 2.000000E-05 |',
    '[Rank 0] (after 1 iterations) memory (MB) | allocated: 507010 | max allocated: 507901 | reserved: 1 | max reserved: 2',
  ])('%s', (line) => {
    expect(saying([line]).kind).toBe('trainer-error');
    expect(saying([ECHO_SAMPLES[0] ?? '', line]).kind).toBe('peer-lost');
  });

  test('in the advice of CANN is said to be so', () => {
    expect(isAdvice('        Possible Cause: 1. An exception')).toBe(true);
    expect(isAdvice(cann('EI0012', 'SDMA memory copy task exception occurred.'))).toBe(false);
  });
});

describe('the logs of CANN', () => {
  const at = new Date(2026, 5, 8, 19, 30).getTime();
  const line = (time: string, text: string): string =>
    `[ERROR] HCCL(686,python):2026-06-08-${time} [file.cc:951] [7]${text}`;

  test('are one story of what went wrong in the last half hour, whoever wrote it', () => {
    const one = [
      line('19:29:00.500', 'second'),
      line('18:40:00.000', 'long ago'),
      '[INFO] HCCL(686,python):2026-06-08-19:29:30.000 no error',
    ];
    expect(plogErrors([one.join('\n'), line('19:29:00.100', 'first'), 'no log'], at)).toEqual([
      line('19:29:00.100', 'first'),
      line('19:29:00.500', 'second'),
    ]);
  });

  test('prove what fails for good, and not what a trainer may try again', () => {
    const tried = ['EL0004', 'EJ0003', 'EE1001', 'No space left on device'];
    expect(saying([npu(507048)], tried).kind).toBe('peer-lost');
    expect(saying([npu(507048)], [...tried, 'error cqe status[12]']).kind).toBe('link-failed');
  });

  test('tell what a trainer met that was stopped before it could say so', () => {
    const stopped = { reason: 'stopped', rc: -9 } as const;
    const verdict = classifyExit({ exit: stopped, lines: [], plog: [runtime(507901)], nodeRank: 1, iterations: 300 });
    expect(verdict.kind).toBe('host-broken');
    expect(classifyExit({ exit: stopped, lines: [npu(507048)], nodeRank: 1, iterations: 300 }).kind).toBe('stopped');
  });
});
