/**
 * @file The run that the kill test starts in another process: `node --import tsx child.ts OUT ARCHITECTURE [FILES]`. With
 * FILES it kills itself while it exports, just before the file after so many others of `final/` gets its name.
 */
import { readdirSync } from 'node:fs';
import { silent } from '../../src/context.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { train } from '../../src/train/train.ts';
import { guardWrites } from '../../src/write-guard.ts';
import { SETTINGS } from './settings-of-tests.ts';
import { syntheticSource } from './support.ts';

const [out, architecture, files] = process.argv.slice(2) as [string, 'topk' | 'standard', string?];
if (files !== undefined) {
  let left = Number(files);
  guardWrites(() => {
    const isExporting = readdirSync(out).some((name) => /^final\..*\.part$/.test(name));
    if (isExporting && left-- === 0) process.kill(process.pid, 'SIGKILL');
  });
}
await useBackend('cpu');
const bar = { update: (done: number) => process.stdout.write(`${done}\n`), finish() {} };
await train(
  { out, rows: syntheticSource(), settings: SETTINGS[architecture] },
  { ...silent(), bar: () => bar },
);
