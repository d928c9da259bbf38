/** Runs `record.ts`, which is no test: it writes what the tests replay. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['test/histories/record.ts'], testTimeout: 120_000, hookTimeout: 120_000, fileParallelism: false },
});
