/** @file Passwords among the arguments: not in the process's title, not in what repeats an argument. */
import { expect, test } from 'vitest';
import { hideSecretArguments, withoutSecretArguments } from '../../src/cli/secret-arguments.ts';

test('a URL among the arguments loses its credentials wherever it is repeated', () => {
  const title = process.title;
  const secret = 'redis://ann:Qx?zj/vw ky@gpu1/0';
  try {
    hideSecretArguments(['jobs', '--queue', 'redis://gpu1']);
    expect(process.title).toBe(title);
    hideSecretArguments(['jobs', '--queue', secret, `--index=https://Qxzj@h/x`]);
    expect(process.title).not.toMatch(/Qx|vw|ky/);
    expect(process.title).toMatch(/^unfold jobs --queue redis:/);
  } finally {
    process.title = title;
  }
  expect(withoutSecretArguments(`error: unknown option '${secret}'`)).toBe(
    "error: unknown option 'redis://ann:***@gpu1/0'",
  );
});
