import { defineConfig } from 'vitest/config';

/** Tests of what waits most of the time: for Redis, for locks to end, for processes to start. */
const WAITING = [
  'test/jobs/**/*.test.ts',
  'test/lock/*.test.ts',
  'test/server/*.test.ts',
  'test/storage/*.test.ts',
];

export default defineConfig({
  test: {
    env: { NO_COLOR: '1' }, // with CI set, colours would be on even in a pipe
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        // Tests share two cores with multi-threaded native kernels: files run one after the other, each in its own process.
        extends: true,
        test: {
          name: 'computing',
          include: ['test/**/*.test.ts'],
          exclude: WAITING,
          fileParallelism: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'waiting', include: WAITING, maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
