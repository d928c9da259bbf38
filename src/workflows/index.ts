/** What the workflow bundle exports: one name for each workflow type. */
export { chooseModel } from './choose-model.js';
export { fineTune } from './fine-tune.js';
export { hostPool } from './host-pool.js';
export { retrain } from './retrain.js';
export { trainGang } from './train-gang.js';
