import { expect, test } from 'vitest';
import { rowsOf, slicePositions } from '../../src/harvest/rows.ts';

// range(8)[slice(*s)] as Python prints it.
const slices: [(number | null)[], number[]][] = [
  [[null], [0, 1, 2, 3, 4, 5, 6, 7]],
  [[3], [0, 1, 2]],
  [
    [1, null],
    [1, 2, 3, 4, 5, 6, 7],
  ],
  [
    [-3, null],
    [5, 6, 7],
  ],
  [
    [2, -2],
    [2, 3, 4, 5],
  ],
  [
    [1, 100, 3],
    [1, 4, 7],
  ],
  [
    [null, null, -1],
    [7, 6, 5, 4, 3, 2, 1, 0],
  ],
  [
    [6, 2, -2],
    [6, 4],
  ],
];

test.each(slices)('seqpos_slice %j selects what it selects in Python', (slice, positions) => {
  expect(slicePositions(slice, 8)).toEqual(positions);
});

test('a slice that leaves nothing, or a step of 0, is refused', () => {
  for (const slice of [[8, null], [0], [5, 2], [0, 8, 0]]) {
    expect(() => slicePositions(slice, 8)).toThrow(expect.objectContaining({ kind: 'bad-setting' }));
  }
});

test('rows are the positions of each context whose token is not special', () => {
  const tokens = Int32Array.from([0, 5, 6, 0, 7, 0, 8, 9]);
  const rule = { contextSize: 4, positions: [0, 1, 3], excluded: new Set([0]) };
  expect([...rowsOf(tokens, rule)]).toEqual([1, 4, 5 + 2]);
  expect([...rowsOf(tokens, { ...rule, excluded: new Set() })]).toEqual([0, 1, 3, 4, 5, 7]);
});
