/**
 * The suites of `npm test`, one project each, so that `npm test -- unit` runs one alone.
 * Forks and not threads: the tests start processes and load native code (Temporal's core), which must not share one process.
 */
import { defineConfig } from 'vitest/config';

interface Suite {
  readonly name: string;
  /** The longest that one test may take; each says why. */
  readonly timeoutMs: number;
  /** Tests of files may run beside each other only where they share no port, process or core. */
  readonly parallelFiles: boolean;
}

const suites: readonly Suite[] = [
  // Pure code and small processes: slower than this is a hang.
  { name: 'unit', timeoutMs: 15_000, parallelFiles: true },
  // Real files, locks and racing processes on a machine with two cores.
  { name: 'conformance', timeoutMs: 60_000, parallelFiles: true },
  // A dev server and a worker start within the first test (about 5 s alone, three times that under load). Each file has its own, and waits most of the time.
  { name: 'workflow', timeoutMs: 90_000, parallelFiles: true },
  // Replays need a bundle, built once (2-11 s), then fractions of a second each.
  { name: 'histories', timeoutMs: 60_000, parallelFiles: false },
  // Real processes and a real training: minutes. Each file has a cluster of its own, and waits half of the time: for limits to pass.
  { name: 'e2e', timeoutMs: 600_000, parallelFiles: true },
];

export default defineConfig({
  test: {
    passWithNoTests: false,
    projects: suites.map(({ name, timeoutMs, parallelFiles }) => ({
      test: {
        name,
        include: [`test/${name}/**/*.test.ts`],
        environment: 'node',
        // The pinned SDK says at each start that later ones will need a newer Node than our floor.
        env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
        pool: 'forks',
        maxWorkers: parallelFiles ? 2 : 1,
        fileParallelism: parallelFiles,
        // A machine that stalls for seconds can starve a real process past any limit: one more try, which the closing table names.
        retry: 1,
        testTimeout: timeoutMs,
        hookTimeout: timeoutMs,
      },
    })),
  },
});
