/** Reads what a folder of safetensors files says that it holds: headers only, never the weights. */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { failure } from '../fail.js';
import { parseJson } from './evidence.js';

export interface TensorInfo {
  readonly dtype: string;
  readonly shape: readonly number[];
}

const Header = z.record(
  z.string(),
  z.union([
    z.object({ dtype: z.string(), shape: z.array(z.int().nonnegative()), data_offsets: z.tuple([z.int(), z.int()]) }),
    z.record(z.string(), z.string()), // __metadata__
  ]),
);
const Index = z.object({ weight_map: z.record(z.string(), z.string()) });

/** No header of a model in use is larger; a larger one is a damaged file. */
const MAX_HEADER_BYTES = 100 * 1024 * 1024;

/** All tensors by name. Fails when a file of the index is missing, cut, or does not hold what the index says. */
export async function readTensors(folder: string): Promise<ReadonlyMap<string, TensorInfo>> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort();
  const index = await readIndex(folder);
  const tensors = new Map<string, TensorInfo & { readonly file: string }>();
  for (const file of files)
    for (const [name, info] of await readHeader(join(folder, file))) tensors.set(name, { ...info, file });
  for (const [name, file] of Object.entries(index?.weight_map ?? {})) {
    if (!files.includes(file)) throw wrong(folder, `its index names the file ${file}, which is missing`);
    if (tensors.get(name)?.file !== file)
      throw wrong(folder, `its index says that ${name} lies in ${file}, but it does not`);
  }
  if (tensors.size === 0) throw wrong(folder, 'it holds no *.safetensors file');
  return tensors;
}

async function readIndex(folder: string): Promise<z.output<typeof Index> | undefined> {
  const text = await readFile(join(folder, 'model.safetensors.index.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = Index.safeParse(parseJson(text));
  if (!parsed.success)
    throw wrong(folder, `its model.safetensors.index.json is no index: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

async function readHeader(path: string): Promise<ReadonlyMap<string, TensorInfo>> {
  const file = await open(path, 'r');
  try {
    const { size } = await stat(path);
    const length = Buffer.alloc(8);
    await file.read(length, 0, 8, 0);
    const bytes = Number(length.readBigUInt64LE());
    if (bytes > MAX_HEADER_BYTES || bytes + 8 > size) throw wrong(path, 'its header is longer than the file');
    const header = Buffer.alloc(bytes);
    await file.read(header, 0, bytes, 8);
    const parsed = Header.safeParse(parseJson(header.toString('utf8')));
    if (!parsed.success) throw wrong(path, `its header cannot be read: ${z.prettifyError(parsed.error)}`);
    const tensors = new Map<string, TensorInfo>();
    for (const [name, entry] of Object.entries(parsed.data)) {
      if (name === '__metadata__' || !('data_offsets' in entry) || !Array.isArray(entry.data_offsets)) continue;
      const {
        dtype,
        shape,
        data_offsets: offsets,
      } = entry as { dtype: string; shape: number[]; data_offsets: [number, number] };
      if (8 + bytes + offsets[1] > size) throw wrong(path, `${name} ends behind the end of the file: it is cut`);
      tensors.set(name, { dtype, shape });
    }
    return tensors;
  } finally {
    await file.close();
  }
}

function wrong(where: string, why: string): Error {
  return failure('ConversionWrong', `The model in ${where} cannot be used: ${why}.`);
}
