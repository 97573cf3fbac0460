import { describe, expect, it } from 'vitest';
import { countedMask, slicePositions } from '../../src/evaluate/counted.ts';

describe('counted positions', () => {
  it('leave out positions whose own input token is excluded', () => {
    expect([...countedMask([9, 1, 2, 9], { tokens: new Set([9]) })]).toEqual([0, 1, 1, 0]);
  });

  it('keep a Python slice of positions', () => {
    expect([...countedMask([1, 1, 1, 1], { seqpos_slice: [1, null] })]).toEqual([0, 1, 1, 1]);
    expect(slicePositions(6, [null])).toEqual([0, 1, 2, 3, 4, 5]);
    expect(slicePositions(6, [3])).toEqual([0, 1, 2]);
    expect(slicePositions(6, [-2, null])).toEqual([4, 5]);
    expect(slicePositions(6, [0, 6, 2])).toEqual([0, 2, 4]);
  });

  it('refuse a step that goes backwards', () => {
    expect(() => slicePositions(6, [0, 6, -1])).toThrow(/seqpos_slice/);
  });
});
