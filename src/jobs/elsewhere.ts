/**
 * @file The same stage in another run directory. A stage's key says what its files are, so a finished folder of the same key
 * is as good as a new one: it is linked instead of made again; and one that is not finished is worked on where it was
 * begun, under the same locks, so that nothing is made twice. Redis remembers for some weeks where each key was queued; what it forgets is made again, no more.
 */
import { constants } from 'node:fs';
import { access, copyFile, link, open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative } from 'node:path';
import type { StageContext } from '../context.ts';
import { exists, explainDisk, publish } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { lockDirectory } from '../lock.ts';
import { partOf } from '../parts.ts';
import { finishedManifest, stageDirectory } from '../pipeline/run-stage.ts';
import type { Stage, StageManifest } from '../pipeline/stage.ts';
import { stageNamed } from '../pipeline/stages/index.ts';
import { isRemote } from '../storage/url.ts';
import { targetOf } from '../targets.ts';
import type { JobTree } from './flow.ts';
import { MAX_ELSEWHERE, type StageJob } from './message.ts';
import { KEYS } from './names.ts';
import type { QueueConnection } from './redis/open.ts';

/** Seconds that a place is remembered after it was queued last. */
const REMEMBERED_SECONDS = 30 * 24 * 3600;

/** The tree with what is known of its stages' other places; and its own places are remembered. */
export async function withElsewhere(connection: QueueConnection, tree: JobTree): Promise<JobTree> {
  const { client } = connection;
  const { message } = tree;
  const children: JobTree[] = [];
  for (const child of tree.children) children.push(await withElsewhere(connection, child));
  if (message.type !== 'stage' || isRemote(message.out) || !stageNamed(message.stage)?.portable)
    return { message, children };
  const own = stageDirectory(message.out, message.stage, message.key);
  const key = KEYS.made + message.key;
  await client.zadd(key, 'NX', String(await connection.time()), own);
  await client.expire(key, REMEMBERED_SECONDS);
  const { elsewhere: _stale, ...fresh } = message;
  const places = await client.zrange(key, 0, String(MAX_ELSEWHERE - 1));
  const isAlone = places.every((dir) => dir === own);
  return { message: isAlone ? fresh : { ...fresh, elsewhere: places }, children };
}

/**
 * Uses a finished folder of the same key in the place of one that would be made.
 * @returns its manifest, or undefined where there is none
 * @throws UnfoldError `locked` while another process does the same, `disk-full`
 */
export async function adopt(
  message: StageJob,
  stage: Stage,
  settings: unknown,
  context: StageContext,
): Promise<StageManifest | undefined> {
  const own = stageDirectory(message.out, stage.name, message.key);
  for (const dir of placesOf(message, stage)) {
    if (dir === own) continue;
    const manifest = await finishedManifest({ stage, settings }, dir, message.key);
    if (!manifest) continue;
    const lock = await lockDirectory(own, context);
    try {
      await linkFolder(dir, own);
    } finally {
      await lock.release();
    }
    context.note(`${stage.name}: made in ${dir}, linked from there`);
    return manifest;
  }
  return undefined;
}

/**
 * The run directory in which the stage's work is done: the one where it was queued first, if that is there and may be
 * written to. So flows that share work share its locks and its unfinished files, wherever they end.
 */
export async function homeOf(message: StageJob, stage: Stage): Promise<string> {
  for (const dir of placesOf(message, stage)) {
    const out = dirname(dir);
    if (out === message.out) break;
    const isThere = (await exists(out)) && (await mayWrite(out));
    if (isThere && (!(await exists(dir)) || (await mayWrite(dir)))) return out;
  }
  return message.out;
}

/** Its own folder among them, in its turn. */
function placesOf({ out, key, elsewhere = [] }: StageJob, stage: Stage): string[] {
  if (!stage.portable || isRemote(out)) return [];
  const own = stageDirectory(out, stage.name, key);
  return elsewhere.filter((dir) => isAbsolute(dir) && basename(dir) === basename(own));
}

async function mayWrite(dir: string): Promise<boolean> {
  return access(dir, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** Names of files that belong to whoever is at work, and to no result. */
const PASSING = /^\.(lock|seconds)|\.part(-.*)?$/;

/** The same files in another folder, stage.json last; hard links where the file system has them, else copies. */
async function linkFolder(from: string, to: string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && !PASSING.test(entry.name))
    .map(({ parentPath, name }) => relative(from, join(parentPath, name)))
    .sort((a, b) => Number(a === 'stage.json') - Number(b === 'stage.json') || (a < b ? -1 : 1));
  for (const file of files) await linkFile(join(from, file), join(to, file));
}

async function linkFile(from: string, to: string): Promise<void> {
  const target = await targetOf(to);
  const part = partOf(target);
  await makeFolder(dirname(target));
  try {
    await link(from, part).catch(() => copyDurably(from, part));
    await publish(part, to);
  } catch (error) {
    throw explainDisk(error, to);
  } finally {
    // A link renamed onto itself stays.
    await rm(part, { force: true });
  }
}

async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const file = await open(to, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
