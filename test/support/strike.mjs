/**
 * @file Kills at exact moments: `NODE_OPTIONS=--import FILE` in a process and its children. A test that watches a folder
 * from outside misses what is there for a millisecond only; this one is inside, at the write itself.
 *
 * UNFOLD_TEST_STRIKES is JSON `{marks, who, moments: [{path, at, nth?, after?}]}`: at the `nth` (1) time that a file whose path
 * matches is opened, written to, or has got its name (`open`, `write`, `renamed`), this process (`who: 'self'`) or its worker
 * (`'parent'`) is killed with -9; `after` so many milliseconds, unless that is 0. Each moment once, in whichever process it
 * comes: a folder `marks/N` says that it was. Plain JavaScript, since it is loaded before anything that knows TypeScript.
 */
import { mkdirSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';

const { marks, who, moments } = JSON.parse(process.env.UNFOLD_TEST_STRIKES ?? '{"moments":[]}');
const left = moments.map(({ path, nth = 1, ...moment }, index) => ({
  ...moment,
  path: new RegExp(path),
  mark: join(marks, String(index)),
  left: nth,
}));

/** An orphan's parent is somebody else. */
const parent = process.ppid;

function seen(at, path) {
  if (who === 'parent' && process.ppid !== parent) return;
  for (const moment of left) {
    if (moment.at !== at || !moment.path.test(String(path)) || --moment.left !== 0) continue;
    if (!first(moment.mark)) continue;
    if (moment.after) setTimeout(strike, moment.after);
    else strike();
  }
}

function first(mark) {
  try {
    mkdirSync(mark);
    return true;
  } catch {
    return false;
  }
}

function strike() {
  process.kill(who === 'parent' ? parent : process.pid, 'SIGKILL');
}

const { open, rename } = fs;
fs.open = async (path, ...rest) => {
  const file = await open(path, ...rest);
  seen('open', path);
  for (const method of ['write', 'writev', 'writeFile']) {
    const write = file[method].bind(file);
    file[method] = async (...given) => {
      const done = await write(...given);
      seen('write', path);
      return done;
    };
  }
  return file;
};
fs.rename = async (from, to) => {
  await rename(from, to);
  seen('renamed', to);
};
syncBuiltinESMExports();
