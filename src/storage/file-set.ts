/** The door to file sets: what they are, and how they get into the store, are proven there, and come out of it. */
export { artifactRefOf, fileSetOf, readManifest, scanFolder } from './manifest.js';
export type { FileSet, FileSetRef, SetFile } from './manifest.js';
export { materialize } from './materialize.js';
export type { LocalCopy, MaterializeOptions } from './materialize.js';
export { publishArtifact, publishFileSet } from './publish.js';
export type { SetProgress, SetTransferOptions } from './set-progress.js';
export { verifyFileSet } from './verify.js';
export type { FileProblem } from './verify.js';
