/** @file A few strikes of `npm run bench -- kills`, which makes as many as one likes. */
import { expect, test } from 'vitest';
import { strikeRuns } from '../../bench/support/kills.ts';

test('a run struck at random moments ends with the bytes of an undisturbed one, and leaves nothing', {
  timeout: 240_000,
}, async () => {
  const { runs, differing, leftovers, failures } = await strikeRuns(2, 3);
  expect(runs).toBeGreaterThan(0);
  expect({ differing, leftovers, failures }).toEqual({ differing: [], leftovers: [], failures: [] });
});
