/** The door to file sets: how they get into the store, are proven there, and come out of it. */
export { artifactRefOf, fileSetOf, readManifest, scanFolder } from './manifest.js';
export type { FileSet, FileSetRef } from './manifest.js';
export type { Origins } from './bring-files.js';
export { materialize, partialOf } from './materialize.js';
export { publishArtifact, publishFileSet } from './publish.js';
export { verifyFileSet } from './verify.js';
