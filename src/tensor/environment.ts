/**
 * @file The environment variables that steer the native kernels. They are read where they are used, in C++, where a typo
 * would be taken for "not set"; so they are looked at here, before anything is loaded.
 */
import { nearest, UnfoldError } from '../errors.ts';
import { numberFromEnvironment } from '../number-text.ts';

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  UNFOLD_BLAS: ['auto', 'dnnl', 'openblas', 'accelerate', 'own'],
  UNFOLD_SCREEN: ['auto', 'off', 'always'],
  UNFOLD_BF16: ['auto', 'amx', 'avx512', 'emulated', 'off'],
  UNFOLD_NATIVE_VARIANT: ['baseline', 'avx2', 'avx512'],
  UNFOLD_NATIVE: ['0', '1'],
};

/** @throws UnfoldError `bad-setting` that names the variable; one that is set to nothing counts as not set */
export function checkEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  numberFromEnvironment('UNFOLD_THREADS', { whole: true, least: 1, most: 1024 }, env);
  numberFromEnvironment('UNFOLD_POOL_MB', { least: 0 }, env);
  for (const [name, choices] of Object.entries(CHOICES)) {
    const value = env[name];
    if (!value || choices.includes(value)) continue;
    throw new UnfoldError('bad-setting', {
      where: `the environment variable ${name}`,
      expected: `one of ${choices.join(', ')}`,
      found: JSON.stringify(value),
      todo: `perhaps ${nearest(value, choices, 1)[0]}; or unset ${name}`,
    });
  }
}
