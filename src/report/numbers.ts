/** Numbers as people read them; the run's page has the same. */
export { duration, percent } from '../plan/numbers.js';
