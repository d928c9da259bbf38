/** A small, bounded set of threads that hash files, so that gigabytes of SHA-256 never delay a heartbeat of the main thread. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { StoreError } from './errors.js';
import { hashWorkerSource } from './hash-worker.js';

export interface FileDigest {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** A file that is hashed while it is written. The writer says how far it is; the bytes are read back from the file itself. */
export interface GrowingHash {
  /** The first `availableBytes` bytes of the file are there and will not change. */
  advance(availableBytes: number): void;
  /** Hashes up to `totalBytes` and answers; `sizeBytes` is smaller if the file is. */
  finish(totalBytes: number): Promise<FileDigest>;
  /** Ends the work; harmless after `finish`. */
  cancel(): void;
}

/** More threads than this gain nothing: one thread hashes about as fast as a good disk reads. */
const maxThreads = 4;

interface Job {
  readonly path: string;
  readonly thread: Thread;
  readonly onProgress: ((bytesDone: number) => void) | undefined;
  readonly resolve: (digest: FileDigest) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, Job>;
}

interface Answer {
  readonly id: number;
  readonly bytesDone?: number;
  readonly digest?: FileDigest;
  readonly error?: { readonly code?: string; readonly message: string };
}

const threads = new Set<Thread>();
let lastId = 0;

/** Starts hashing `path`, which must exist. Callers bound how many files they hash at once; each one costs a file descriptor. */
export function startHash(path: string, onProgress?: (bytesDone: number) => void): GrowingHash {
  const id = ++lastId;
  const thread = idlestThread();
  const digest = new Promise<FileDigest>((resolve, reject) => {
    thread.jobs.set(id, { path, thread, onProgress, resolve, reject });
  });
  // Whoever never calls `finish` (its transfer failed first) must not cause an unhandled rejection.
  digest.catch(() => undefined);
  // A thread keeps the process alive only while it has work.
  thread.worker.ref();
  thread.worker.postMessage({ type: 'start', id, path, availableBytes: 0, finishing: false });
  return {
    advance: (availableBytes) => {
      thread.worker.postMessage({ type: 'advance', id, availableBytes });
    },
    finish: (totalBytes) => {
      thread.worker.postMessage({ type: 'finish', id, availableBytes: totalBytes });
      return digest;
    },
    cancel: () => {
      const job = forget(thread, id);
      if (job === undefined) return;
      thread.worker.postMessage({ type: 'cancel', id });
      job.reject(new Error(`Hashing ${path} was cancelled.`));
    },
  };
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

function onAnswer(thread: Thread, { id, bytesDone, digest, error }: Answer): void {
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
    const code = error?.code === 'ENOENT' ? 'NotFound' : 'Unavailable';
    job.reject(new StoreError(code, `Could not read ${job.path} to hash it (${error?.message ?? 'no reason given'}).`));
  }
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
    job.reject(new StoreError('Unavailable', `Hashing ${job.path} stopped, ${cause.message}; try again.`, cause));
  }
}
