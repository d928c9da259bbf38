/**
 * The program of a thread that hashes files and stores small ones, as text: a thread started from text runs the same from built JavaScript, from a bundle and under
 * a test runner that loads TypeScript. It serves many files at once, a slice each in turn, so that a file which grows slowly
 * (a download) never keeps a whole thread from the others.
 */
export const hashWorkerSource = `'use strict';
const { parentPort } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, fchmodSync, fstatSync, fsync, openSync, readSync, renameSync, unlinkSync, writeFileSync } = require('node:fs');

const sliceBytes = 4 * 1024 * 1024;
const buffer = Buffer.allocUnsafe(1024 * 1024);
const jobs = new Map();
let scheduled = false;

parentPort.on('message', (message) => {
  if (message.type === 'store') return store(message);
  if (message.type === 'load') return load(message);
  if (message.type === 'start') start(message);
  if (message.type === 'start-bytes') jobs.set(message.id, { hash: createHash('sha256'), position: 0, availableBytes: 0, waiting: [] });
  const job = jobs.get(message.id);
  if (job === undefined) return;
  if (message.type === 'cancel') return end(message.id, job);
  if (message.type === 'bytes') {
    // Behind what the file itself has: their turn comes when that is done.
    if (job.position < job.availableBytes) job.waiting.push(message);
    else hashBytes(message, job);
    return;
  }
  if (message.type === 'finish-bytes') {
    parentPort.postMessage({ id: message.id, digest: { sha256: job.hash.digest('hex'), sizeBytes: job.position } });
    return end(message.id, job);
  }
  if (message.type === 'advance') job.availableBytes = message.availableBytes;
  if (message.type === 'finish') {
    job.availableBytes = message.availableBytes;
    job.finishing = true;
  }
  schedule();
});

function start({ id, path, availableBytes, finishing }) {
  try {
    jobs.set(id, { fd: openSync(path, 'r'), hash: createHash('sha256'), position: 0, availableBytes, finishing, waiting: [] });
  } catch (error) {
    parentPort.postMessage({ id, error: { code: error.code, message: error.message } });
  }
}

// Memory that the main thread shares with us: nothing is copied. Its own digest is asked for where the bytes travel on their own.
function hashBytes({ id, bytes, length, own }, job) {
  const view = new Uint8Array(bytes, 0, length);
  job.hash.update(view);
  job.position += length;
  parentPort.postMessage({ id, hashed: own ? createHash('sha256').update(view).digest('hex') : '' });
}

// A small file at once, into memory that the main thread shares with us. One that does not fit is only measured.
function load({ id, path, bytes }) {
  let fd;
  try {
    fd = openSync(path, 'r');
    let sizeBytes = fstatSync(fd).size;
    const view = new Uint8Array(bytes, 0, Math.min(sizeBytes, bytes.byteLength));
    if (sizeBytes === view.length) {
      let count = 1;
      for (sizeBytes = 0; sizeBytes < view.length && count > 0; sizeBytes += count)
        count = readSync(fd, view, sizeBytes, view.length - sizeBytes, sizeBytes);
    }
    const sha256 = createHash('sha256').update(view.subarray(0, sizeBytes)).digest('hex');
    parentPort.postMessage({ id, digest: { sha256, sizeBytes } });
  } catch (error) {
    parentPort.postMessage({ id, error: { code: error.code, message: error.message } });
  }
  if (fd !== undefined) closeSync(fd);
}

// What another attempt has left there is in the way, and rarely there.
function openNew(path, mode) {
  try {
    return openSync(path, 'wx', mode);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    unlinkSync(path);
    return openSync(path, 'wx', mode);
  }
}

// A small file at once. Only the wait for the disk leaves the thread to others.
function store({ id, bytes, sha256, mode, part, path }) {
  const found = createHash('sha256').update(bytes).digest('hex');
  const answer = (error) => {
    if (error) parentPort.postMessage({ id, error: { code: error.code, syscall: error.syscall, message: error.message } });
    else parentPort.postMessage({ id, digest: { sha256: found, sizeBytes: bytes.length } });
  };
  if (found !== sha256) return answer();
  let fd;
  try {
    fd = openNew(part, mode);
    fchmodSync(fd, mode);
    writeFileSync(fd, bytes);
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    return answer(error);
  }
  fsync(fd, (failed) => {
    try {
      closeSync(fd);
      if (!failed) renameSync(part, path);
      answer(failed);
    } catch (error) {
      answer(error);
    }
  });
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  setImmediate(() => {
    scheduled = false;
    let more = false;
    for (const [id, job] of jobs) if (job.fd !== undefined) more = step(id, job) || more;
    if (more) schedule();
  });
}

// Hashes one slice; true if this job could go on at once.
function step(id, job) {
  if (!job.finishing && job.position >= job.availableBytes) return false;
  try {
    const until = Math.min(job.availableBytes, job.position + sliceBytes);
    let atEnd = false;
    while (job.position < until && !atEnd) {
      const count = readSync(job.fd, buffer, 0, Math.min(buffer.length, until - job.position), job.position);
      job.hash.update(buffer.subarray(0, count));
      job.position += count;
      atEnd = count === 0;
    }
    if (atEnd) job.availableBytes = job.position;
    if (job.position >= job.availableBytes) for (const message of job.waiting.splice(0)) hashBytes(message, job);
    const isDone = job.finishing && (atEnd || job.position >= job.availableBytes);
    if (!isDone) {
      parentPort.postMessage({ id, bytesDone: job.position });
      return job.position < job.availableBytes;
    }
    parentPort.postMessage({ id, digest: { sha256: job.hash.digest('hex'), sizeBytes: job.position } });
  } catch (error) {
    parentPort.postMessage({ id, error: { code: error.code, message: error.message } });
  }
  end(id, job);
  return false;
}

function end(id, job) {
  jobs.delete(id);
  if (job.fd !== undefined) closeSync(job.fd);
}
`;
