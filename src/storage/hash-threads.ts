/** The threads behind hash-pool.ts, and the jobs that they have. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { StoreError } from './errors.js';
import { hashWorkerSource } from './hash-worker.js';

export interface FileDigest {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** More threads than this gain nothing: one thread hashes about as fast as a good disk reads. */
const maxThreads = 4;

interface Job {
  readonly path: string;
  readonly onProgress: ((bytesDone: number) => void) | undefined;
  /** Bytes that were handed over and are not answered yet, in order. */
  readonly updates: { readonly resolve: (own: string) => void; readonly reject: (error: unknown) => void }[];
  readonly resolve: (digest: FileDigest) => void;
  readonly reject: (error: unknown) => void;
  readonly failureOf: (error: ThreadError) => Error;
}

export interface ThreadError {
  readonly code?: string;
  readonly syscall?: string;
  readonly message: string;
}

interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, Job>;
}

interface Answer {
  readonly id: number;
  readonly bytesDone?: number;
  readonly hashed?: string;
  readonly digest?: FileDigest;
  readonly error?: ThreadError;
}

const threads = new Set<Thread>();
let lastId = 0;

/**
 * Hashes the first `length` bytes, which must not change until then. Answers their own SHA-256 too if `own`, else an empty text.
 * Calls count in their order.
 */
export type Update = (bytes: SharedArrayBuffer, length: number, own: boolean) => Promise<string>;

interface OpenJob {
  readonly id: number;
  readonly thread: Thread;
  readonly update: Update;
  readonly digest: Promise<FileDigest>;
  readonly cancel: () => void;
}

/** A job for the thread that has the fewest; it is told what to do by `thread.worker.postMessage`, with the job's `id`. */
export function openJob(
  path: string,
  onProgress: ((bytesDone: number) => void) | undefined,
  failureOf = (error: ThreadError): Error => unreadable(path, error),
): OpenJob {
  const id = ++lastId;
  const thread = idlestThread();
  const updates: Job['updates'] = [];
  const digest = new Promise<FileDigest>((resolve, reject) => {
    thread.jobs.set(id, { path, onProgress, updates, resolve, reject, failureOf });
  });
  // Whoever never calls `finish` (its transfer failed first) must not cause an unhandled rejection.
  digest.catch(() => undefined);
  // A thread keeps the process alive only while it has work.
  thread.worker.ref();
  const cancel = (): void => {
    const job = forget(thread, id);
    if (job === undefined) return;
    thread.worker.postMessage({ type: 'cancel', id });
    rejectAll(job, new Error(`Hashing ${path} was cancelled.`));
  };
  const update: Update = (bytes, length, own) =>
    new Promise((resolve, reject) => {
      if (!thread.jobs.has(id)) {
        reject(new StoreError('Unavailable', `Hashing ${path} has stopped; try again.`));
        return;
      }
      updates.push({ resolve, reject });
      thread.worker.postMessage({ type: 'bytes', id, bytes, length, own });
    });
  return { id, thread, update, digest, cancel };
}

function rejectAll(job: Job, error: unknown): void {
  for (const update of job.updates.splice(0)) update.reject(error);
  job.reject(error);
}

function idlestThread(): Thread {
  const idlest = [...threads].sort((a, b) => a.jobs.size - b.jobs.size)[0];
  const limit = Math.min(maxThreads, availableParallelism());
  if (idlest !== undefined && (idlest.jobs.size === 0 || threads.size >= limit)) return idlest;
  return openThread();
}

function openThread(): Thread {
  // `execArgv: []`: loaders and inspectors of the main thread are not for this one.
  const worker = new Worker(hashWorkerSource, { eval: true, execArgv: [], name: 'hash' });
  const thread: Thread = { worker, jobs: new Map() };
  threads.add(thread);
  worker.on('message', (answer: Answer) => {
    onAnswer(thread, answer);
  });
  worker.on('error', (error) => {
    abandon(thread, error);
  });
  worker.on('exit', (code) => {
    abandon(thread, new Error(`the thread ended with code ${code}`));
  });
  return thread;
}

function onAnswer(thread: Thread, { id, bytesDone, hashed, digest, error }: Answer): void {
  if (hashed !== undefined) {
    thread.jobs.get(id)?.updates.shift()?.resolve(hashed);
    return;
  }
  if (bytesDone !== undefined) {
    thread.jobs.get(id)?.onProgress?.(bytesDone);
    return;
  }
  const job = forget(thread, id);
  if (job === undefined) return;
  if (digest !== undefined) {
    job.onProgress?.(digest.sizeBytes);
    job.resolve(digest);
  } else {
    rejectAll(job, job.failureOf(error ?? { message: 'no reason given' }));
  }
}

function unreadable(path: string, { code, message }: ThreadError): StoreError {
  return new StoreError(
    code === 'ENOENT' ? 'NotFound' : 'Unavailable',
    `Could not read ${path} to hash it (${message}).`,
  );
}

function forget(thread: Thread, id: number): Job | undefined {
  const job = thread.jobs.get(id);
  thread.jobs.delete(id);
  if (thread.jobs.size === 0) thread.worker.unref();
  return job;
}

function abandon(thread: Thread, cause: Error): void {
  threads.delete(thread);
  for (const [id, job] of [...thread.jobs]) {
    forget(thread, id);
    rejectAll(job, new StoreError('Unavailable', `Hashing ${job.path} stopped, ${cause.message}; try again.`, cause));
  }
}
