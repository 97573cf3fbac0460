/** @file Errors teach: four parts, and the nearest names. */
import { expect, test } from 'vitest';
import { nearest, UnfoldError } from '../src/errors.ts';

test('a message says where, what was expected, what was found and what to do', () => {
  const error = new UnfoldError('bad-k', {
    where: 'train.k',
    expected: '1 to 8',
    found: '9',
    todo: 'lower k',
  });
  expect(error.message).toBe('train.k\n  expected  1 to 8\n  found     9\n  to mend   lower k');
});

test('nearest names come by edit distance', () => {
  expect(nearest('hook_resid_pree', ['hook_resid_post', 'hook_z', 'hook_resid_pre'], 2)).toEqual([
    'hook_resid_pre',
    'hook_resid_post',
  ]);
});
