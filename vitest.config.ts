import { defineConfig } from 'vitest/config';

// Tests share two cores with multi-threaded native kernels: files run one after the other, each in its own process.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    env: { NO_COLOR: '1' }, // with CI set, colours would be on even in a pipe
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
