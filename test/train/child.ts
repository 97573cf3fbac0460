/** @file The run that the kill test starts in another process: `node --import tsx child.ts OUT ARCHITECTURE`. */
import { silent } from '../../src/context.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { train } from '../../src/train/train.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { syntheticSource } from './support.ts';

const [out, architecture] = process.argv.slice(2) as [string, 'topk' | 'standard'];
await useBackend('cpu');
const bar = { update: (done: number) => process.stdout.write(`${done}\n`), finish() {} };
await train(
  { out, rows: syntheticSource(), settings: SETTINGS[architecture] },
  { ...silent(), bar: () => bar },
);
