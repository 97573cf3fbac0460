/**
 * @file A process that takes a lock again and again: `contender.ts DIR TURNS [FIRST-LAST]`. In the lock it reads a number from
 * a file and writes the next one, so two that are inside at once lose a count. With TURNS 0 it takes the lock, says so
 * and holds it until it is killed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockDirectory, lockShards } from '../../src/lock.ts';

const [dir = '', turns = '0', range] = process.argv.slice(2);
const options = { wait: 60_000, poll: 5, beat: 50 };

async function take(): Promise<() => void> {
  if (range === undefined) {
    const lock = await lockDirectory(dir, options);
    return () => void lock.release();
  }
  const [first = 0, last = 0] = range.split('-').map(Number);
  return lockShards(dir, { first, last }, options);
}

for (let turn = 0; turn < Number(turns); turn++) {
  const release = await take();
  const count = Number(readFileSync(join(dir, 'count'), 'utf8'));
  await sleep(Math.random() * 3);
  writeFileSync(join(dir, 'count'), String(count + 1));
  release();
}
if (turns === '0') {
  await take();
  console.log('held');
  setInterval(() => {}, 1000);
}
