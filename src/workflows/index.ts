/** What the workflow bundle exports: one name for each workflow type. */
export { fineTune } from './fine-tune.js';
export { hostPool } from './host-pool.js';
export { trainGang } from './train-gang.js';
