/** Settings of the two processes, from one YAML file each. Secrets are not among them: the SDKs find those by themselves. */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { StoreShape } from '../storage/store-settings.js';

const clusterName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,40}$/, 'must be 1 to 41 of a-z, 0-9 and dash');
const hostName = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9.-]{0,100}$/, 'must be a host name');
const seconds = z.number('must be a number of seconds').positive('must be greater than 0');

const metricsAddress = z
  .string()
  .regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[\da-f:]+\]):\d{1,5}$/i, 'must be an IP address and a port, such as 127.0.0.1:9464')
  .optional()
  .describe('Where Prometheus reads /metrics of this process; left out, nowhere.');

const Temporal = z.strictObject({
  address: z.string().min(1).describe('host:port of the Temporal server'),
  namespace: z.string().min(1).default('default'),
});

export const ControlConfig = z.strictObject({
  cluster: clusterName,
  temporal: Temporal,
  store: StoreShape,
  timing: z
    .strictObject({
      heartbeatSeconds: seconds.default(20),
      attachSeconds: seconds.default(60),
    })
    .default({ heartbeatSeconds: 20, attachSeconds: 60 }),
  metricsAddress,
});
export type ControlConfig = z.output<typeof ControlConfig>;

const Ascend = z.strictObject({
  home: z
    .string()
    .min(1)
    .default('/usr/local/Ascend')
    .describe('Below it lie driver, firmware and CANN, with their versions.'),
  setEnv: z
    .array(z.string().min(1))
    .min(1)
    .describe(
      "The scripts that set CANN's environment, in their order: of the toolkit, then of nnal/atb where a model needs it.",
    ),
  interface: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,15}$/, 'must be the name of one network interface')
    .optional()
    .describe('Over which the hosts of a gang meet; left out, the one that has `address`.'),
});

const AgentShape = z.strictObject({
  cluster: clusterName,
  name: hostName,
  address: z.string().min(1).describe('Where the other hosts of a gang reach this one.'),
  npus: z.int().positive().max(64),
  runtime: z.enum(['cpu', 'ascend']),
  workRoot: z
    .string()
    .startsWith('/', 'must be an absolute path: the processes of this host are known by it')
    .describe('A folder of this host alone, on a local disk.'),
  runtimeBin: z.string().min(1).describe('The folder with python, torchrun and mm-convert.'),
  trainerHome: z.string().min(1).describe("The folder with the trainer's entry scripts."),
  temporal: Temporal,
  store: StoreShape,
  leaseTtlSeconds: seconds.default(600).describe('How long a trainer lives without an answered heartbeat.'),
  graceSeconds: seconds.default(60).describe('How long a trainer that is asked to stop may take to save.'),
  metricsAddress,
  ascend: Ascend.optional().describe('What only hosts with NPUs have.'),
});
export const AgentConfig = AgentShape.refine(
  ({ runtime, ascend }) => (runtime === 'ascend') === (ascend !== undefined),
  {
    path: ['ascend'],
    error: 'must be set where "runtime" is "ascend", and nowhere else',
  },
);
export type AgentConfig = z.output<typeof AgentConfig>;

/** Reads a settings file. Throws a sentence for each field that is wrong. */
export async function readConfig<Shape extends z.ZodType>(shape: Shape, file: string): Promise<z.output<Shape>> {
  const parsed = shape.safeParse(parse(await readFile(file, 'utf8')));
  if (!parsed.success) throw new Error(`The settings in ${file} cannot work:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
