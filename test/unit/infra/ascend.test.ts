/** infra/ascend by the tools that a machine without an NPU has: bash, shellcheck, systemd-analyze, hadolint, kubernetes-validate, and the schemas that read the settings. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { AgentConfig, ControlConfig, readConfig } from '../../../src/workers/config.js';

const folder = fileURLToPath(new URL('../../../infra/ascend/', import.meta.url));
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');
const scratchRoot = mkdtempSync(join(tmpdir(), 'anneal-infra-'));
let scratch = '';
beforeEach(() => {
  scratch = mkdtempSync(join(scratchRoot, 'test-'));
});
afterAll(() => {
  rmSync(scratchRoot, { recursive: true, force: true });
});

function run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { status, stdout, stderr, pid } = spawnSync(program, [...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', ...env },
    timeout: 10_000,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { status, stdout, stderr, pid };
}

function executable(file: string, content: string): void {
  writeFileSync(file, content);
  chmodSync(file, 0o755);
}

const has = (program: string): boolean => run('sh', ['-c', `command -v ${program}`]).status === 0;

describe('scripts', () => {
  const scripts = readdirSync(folder).filter((name) => name.endsWith('.sh'));

  test('there are three', () => {
    expect(scripts.sort()).toEqual(['bundle.sh', 'entrypoint.sh', 'install.sh']);
  });

  test.each(scripts)('%s is bash', (name) => {
    expect(run('bash', ['-n', join(folder, name)])).toMatchObject({ status: 0, stderr: '' });
  });

  test.skipIf(!has('shellcheck'))('shellcheck has nothing to say (skipped where it is not installed)', () => {
    const check = (...files: readonly string[]) =>
      run('shellcheck', ['--external-sources', '--source-path=SCRIPTDIR', ...files]);
    expect(check(...scripts.map((name) => join(folder, name)))).toMatchObject({ status: 0, stdout: '' });
    const spoilt = join(scratch, 'spoilt.sh');
    writeFileSync(spoilt, text('install.sh').replace('"$bundle"', '$bundle'));
    expect(check(spoilt).status, 'it does find mistakes').toBe(1);
  });

  test.each(['bundle.sh', 'install.sh'])('%s says what can be written', (name) => {
    expect(run(join(folder, name), ['--help'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Usage:') as unknown,
    });
    expect(run(join(folder, name), ['--nope'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--nope') as unknown,
    });
  });

  test('the release is the one that the presets of the engine are read from', () => {
    const commit = /^MINDSPEED_MM_COMMIT=(\w+)$/m.exec(text('versions.env'))?.[1] ?? 'none';
    for (const family of ['internvl', 'qwen']) {
      const presets = new URL(`../../../src/backends/mindspeed/${family}/presets.ts`, import.meta.url);
      expect(readFileSync(presets, 'utf8')).toContain(`@${commit}`);
    }
  });

  test('no file names a host of a registry', () => {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /\.\w+$|Dockerfile/.test(name),
    );
    expect(names.length).toBeGreaterThan(10);
    for (const name of names)
      expect(text(name), name).not.toMatch(/https?:\/\/|\b(index|extra-index)-url\b|--registry/);
  });
});

describe('install.sh --check', () => {
  const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim();
  const files = (arch: string) => [
    ...['sources/MindSpeed-MM.tar', 'sources/MindSpeed.tar', 'sources/Megatron-LM.tar'],
    ...[
      `vendor/Ascend-cann-toolkit_8.3.RC1_linux-${arch}.run`,
      `vendor/Ascend-cann-kernels-910b_8.3.RC1_linux-${arch}.run`,
    ],
    ...[`wheels/torch_npu-2.7.1-cp310-cp310-linux_${arch}.whl`, `wheels/apex-0.1-cp310-cp310-linux_${arch}.whl`],
  ];

  /** A bundle with files of no use but the right names, and the programs that it looks for. */
  function check({ arch = machine, leaveOut = '', damage = '' } = {}) {
    const bundle = join(scratch, 'bundle');
    for (const name of ['sources', 'vendor', 'wheels']) mkdirSync(join(bundle, name), { recursive: true });
    for (const name of files(arch))
      if (!name.startsWith(leaveOut) || leaveOut === '') writeFileSync(join(bundle, name), name);
    cpSync(join(folder, 'versions.env'), join(bundle, 'versions.env'));
    const sums = execFileSync('bash', ['-c', 'find . -type f -print0 | sort -z | xargs -0 sha256sum'], { cwd: bundle });
    writeFileSync(join(bundle, 'SHA256SUMS'), sums);
    if (damage !== '') writeFileSync(join(bundle, damage), 'other bytes');
    const bin = join(scratch, 'bin');
    mkdirSync(bin);
    for (const name of ['python3.10', 'node', 'flock']) executable(join(bin, name), '#!/bin/sh\nexit 0\n');
    return run(join(folder, 'install.sh'), ['--check', bundle], { PATH: `${bin}:/usr/bin:/bin` });
  }

  test('a whole bundle for this machine is accepted, and nothing is changed', () => {
    expect(check()).toMatchObject({ status: 0, stdout: 'The bundle is whole and fits this machine.\n', stderr: '' });
  });

  test.each([
    [
      'a wheel is missing',
      { leaveOut: 'wheels/torch_npu' },
      'must hold wheels/torch_npu-*.whl once, but holds it 0 times',
    ],
    ['a file is damaged', { damage: 'sources/MindSpeed.tar' }, 'is damaged: copy it again'],
    ['it is for another machine', { arch: 'riscv64' }, `is not for this machine, which is ${machine}`],
  ])('%s', (_, what, message) => {
    expect(check(what)).toMatchObject({ status: 1, stderr: expect.stringContaining(message) as unknown });
  });

  test('a folder that is no bundle is refused', () => {
    expect(run(join(folder, 'install.sh'), ['--check', scratch])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is no bundle') as unknown,
    });
  });
});

describe('bundle.sh refuses before it begins', () => {
  test('an argument is missing', () => {
    expect(run(join(folder, 'bundle.sh'), ['--sources', scratch])).toMatchObject({
      status: 1,
      stderr: 'bundle.sh: --vendor is missing (--help shows what it is)\n',
    });
  });

  test('a clone that has not the commit leaves no bundle', () => {
    const sources = join(scratch, 'sources');
    mkdirSync(join(sources, 'MindSpeed-MM'), { recursive: true });
    execFileSync('git', ['init', '--quiet', join(sources, 'MindSpeed-MM')]);
    writeFileSync(join(scratch, 'anneal.tgz'), '');
    const args = [
      '--sources',
      sources,
      '--vendor',
      scratch,
      '--anneal',
      join(scratch, 'anneal.tgz'),
      '--out',
      join(scratch, 'out'),
    ];
    expect(run(join(folder, 'bundle.sh'), args)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('has no commit 67f617f0: fetch it there') as unknown,
    });
    expect(readdirSync(scratch)).not.toContain('out');
  });
});

describe('settings', () => {
  test('the four agents and the worker are one cluster, each host once', async () => {
    const names = readdirSync(join(folder, 'agents'));
    expect(names).toHaveLength(4);
    const agents = await Promise.all(names.map((name) => readConfig(AgentConfig, join(folder, 'agents', name))));
    const worker = await readConfig(ControlConfig, join(folder, 'worker.yaml'));
    expect(new Set(agents.map(({ name }) => name)).size).toBe(4);
    expect(new Set(agents.map(({ address }) => address)).size).toBe(4);
    const setEnv = /^CANN_SET_ENV=(.+)$/m.exec(text('versions.env'))?.[1];
    for (const { ascend, runtimeBin } of agents)
      expect({ ascend, runtimeBin }).toEqual({
        ascend: { home: '/usr/local/Ascend', setEnv: [setEnv] },
        runtimeBin: '/opt/anneal/env/bin',
      });
    for (const { cluster, temporal, store, runtime, npus } of agents)
      expect({ cluster, temporal, store, runtime, npus }).toEqual({
        cluster: worker.cluster,
        temporal: worker.temporal,
        store: worker.store,
        runtime: 'ascend',
        npus: 8,
      });
  });

  test('the entry point of the image fills in the host, and the agent reads what comes out', async () => {
    const [, config] = parseAllDocuments(text('daemonset.yaml')).map(
      (one) => one.toJS() as { data?: Record<string, string> },
    );
    const [template, settings] = [join(scratch, 'agent.yaml.in'), join(scratch, 'run', 'agent.yaml')];
    writeFileSync(template, config?.data?.['agent.yaml'] ?? '');
    const bin = join(scratch, 'bin');
    mkdirSync(bin);
    executable(join(bin, 'node'), '#!/bin/sh\nprintf "%s " "$@"\n');
    const host = { PATH: `${bin}:/usr/bin:/bin`, NODE_NAME: 'worker-7.rack2', HOST_IP: '10.1.2.3' };
    const { status, stdout } = run(join(folder, 'entrypoint.sh'), [template, settings], host);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: `--max-semi-space-size=2 /opt/anneal/engine/node_modules/anneal/bin/anneal.mjs agent --config ${settings} `,
    });
    expect(await readConfig(AgentConfig, settings)).toMatchObject({
      name: 'worker-7.rack2',
      address: '10.1.2.3',
      runtime: 'ascend',
      npus: 8,
    });
    expect(run(join(folder, 'entrypoint.sh'), [template, settings], { NODE_NAME: 'x' }).stderr).toContain('HOST_IP');
  });
});

describe('anneal-agent.service', () => {
  const unit = text('anneal-agent.service');
  const setting = (name: string): string | undefined => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1];

  test.skipIf(!has('systemd-analyze'))(
    'systemd-analyze verify has nothing to say (skipped where systemd is not installed)',
    () => {
      // It looks for the program, which is on no machine but an installed host: any other program that is here stands in.
      const file = join(scratch, 'anneal-agent.service');
      writeFileSync(file, unit.replace('/usr/bin/node', process.execPath));
      const verify = (): string =>
        run('systemd-analyze', ['verify', '--man=no', file], { SYSTEMD_LOG_LEVEL: 'warning' }).stderr;
      expect(
        verify()
          .split('\n')
          .filter((line) => line.includes('anneal-agent')),
      ).toEqual([]);
      writeFileSync(file, unit.replace('KillMode=process', 'KillMode=nobody'));
      expect(verify(), 'it does find mistakes').toContain('anneal-agent');
    },
  );

  test('stopping it leaves trainers alone, and a rank without memory does not take the agent down', () => {
    expect([setting('KillMode'), setting('OOMPolicy'), setting('Restart'), setting('TasksMax')]).toEqual([
      'process',
      'continue',
      'always',
      'infinity',
    ]);
    // A private file system would be another one for the next agent.
    expect(unit).not.toMatch(/^(Private|Protect|RuntimeDirectory)/m);
    // Restarts are far quicker than the shortest lease of the settings.
    expect(Number(setting('RestartSec'))).toBeLessThan(60);
  });

  test('it starts what install.sh puts there', () => {
    expect(setting('ExecStart')).toContain(
      '/opt/anneal/engine/node_modules/anneal/bin/anneal.mjs agent --config /etc/anneal/agent.yaml',
    );
    expect(text('install.sh')).toContain('cp -r "$bundle/anneal" "$prefix/engine"');
  });
});

describe('image and DaemonSet', () => {
  interface Pod {
    readonly hostNetwork: boolean;
    readonly hostPID: boolean;
    readonly hostIPC: boolean;
    readonly terminationGracePeriodSeconds: number;
    readonly containers: readonly {
      readonly securityContext: { readonly privileged: boolean };
      readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
    }[];
    readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
  }
  const documents = parseAllDocuments(text('daemonset.yaml'));
  const set = documents[2]?.toJS() as {
    spec: {
      selector: { matchLabels: unknown };
      updateStrategy: { type: string };
      template: { metadata: { labels: unknown }; spec: Pod };
    };
  };
  const pod = set.spec.template.spec;

  test('the documents are YAML of the kinds that they say', () => {
    expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
    expect(documents.map((one) => (one.toJS() as { kind: string }).kind)).toEqual([
      'Namespace',
      'ConfigMap',
      'DaemonSet',
    ]);
    expect(set.spec.selector.matchLabels).toEqual(set.spec.template.metadata.labels);
  });

  test.skipIf(!has('kubernetes-validate'))(
    'the schemas of Kubernetes have nothing to say (skipped where kubernetes-validate is not installed)',
    () => {
      const check = (content: string) => {
        const file = join(scratch, 'daemonset.yaml');
        writeFileSync(file, content);
        return run('kubernetes-validate', ['--strict', '--quiet', '--kubernetes-version', '1.28', file]);
      };
      expect(check(text('daemonset.yaml'))).toMatchObject({ status: 0 });
      expect(check(text('daemonset.yaml').replace('hostPID:', 'hostPid:')).status, 'it does find mistakes').not.toBe(0);
    },
  );

  test.skipIf(!has('hadolint'))('hadolint has nothing to say (skipped where it is not installed)', () => {
    const check = (content: string) => {
      const file = join(scratch, 'Dockerfile');
      writeFileSync(file, content);
      return run('hadolint', [file]);
    };
    expect(check(text('Dockerfile'))).toMatchObject({ status: 0, stdout: '' });
    expect(check(text('Dockerfile').replace('COPY', 'ADD')).status, 'it does find mistakes').not.toBe(0);
  });

  test('the pod sees chips, driver and every process of its host', () => {
    const [agent] = pod.containers;
    expect(agent?.securityContext.privileged).toBe(true);
    expect([pod.hostNetwork, pod.hostPID, pod.hostIPC]).toEqual([true, true, true]);
    const paths = [
      '/usr/local/Ascend/driver',
      '/usr/local/Ascend/firmware',
      '/usr/local/dcmi',
      '/usr/local/bin/npu-smi',
      '/etc/ascend_install.info',
      '/etc/hccn.conf',
      '/var/lib/anneal',
    ];
    for (const path of paths) {
      const mount = agent?.volumeMounts.find(({ mountPath }) => mountPath === path);
      expect(pod.volumes.find(({ name }) => name === mount?.name)?.hostPath?.path, path).toBe(path);
    }
    expect(agent?.volumeMounts.map(({ name }) => name).sort()).toEqual(pod.volumes.map(({ name }) => name).sort());
  });

  test('pods are replaced by hand only, and a trainer has the time to save', async () => {
    expect(set.spec.updateStrategy.type).toBe('OnDelete');
    const config = (parse(String(documents[1])) as { data: Record<string, string> }).data['agent.yaml'] ?? '';
    writeFileSync(join(scratch, 'agent.yaml'), config.replace('@NODE_NAME@', 'n').replace('@HOST_IP@', '10.0.0.1'));
    const { graceSeconds } = await readConfig(AgentConfig, join(scratch, 'agent.yaml'));
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(graceSeconds + 25);
  });

  test('the image takes its base by an argument, and copies files that are there', () => {
    const lines = text('Dockerfile')
      .replaceAll('\\\n', ' ')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.slice(0, 2)).toEqual(['ARG BASE_IMAGE', 'FROM ${BASE_IMAGE}']);
    expect(new Set(lines.map((line) => line.split(' ')[0]))).toEqual(
      new Set(['ARG', 'FROM', 'RUN', 'COPY', 'ENV', 'ENTRYPOINT']),
    );
    const copied = lines.filter((line) => line.startsWith('COPY')).map((line) => line.split(' ')[1] ?? '');
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(copied));
    expect(lines.find((line) => line.startsWith('RUN'))).toContain(
      'install.sh /bundle --prefix "${PREFIX}" --trainer "${TRAINER}" --no-service',
    );
  });
});
