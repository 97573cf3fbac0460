/**
 * @file `FLOW.queue.json` in a flow's folder: all messages of the flow, written before they are queued and removed when the
 * last job is done. So the folders know what there is to do even if Redis is lost with everything in it
 * (`unfold jobs requeue DIR`).
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../errors.ts';
import { readJson, writeJson } from '../files.ts';
import { packageVersion } from '../package-version.ts';
import { readStoredJson, storeOf, writeStoredJson } from '../storage/open.ts';
import { isRemote } from '../storage/url.ts';
import type { JobTree } from './flow.ts';
import { jobMessage } from './message.ts';

/** How jobs are put into the queue; nothing here changes what they make. */
export interface AddOptions {
  /** As BullMQ's: from 1 (first) to 2,097,151; 0, the default, goes before all of them. */
  priority?: number;
  /** Milliseconds before the first job may begin. */
  delay?: number;
  /** How often a job is tried when a worker is lost or something unforeseen happens; 3. */
  attempts?: number;
}

const tree: z.ZodType<JobTree> = z.strictObject({
  message: jobMessage,
  children: z.lazy(() => z.array(tree)),
}) as z.ZodType<JobTree>;

const schema = z.strictObject({
  kind: z.literal('unfold.queue/1'),
  unfold: z.string(),
  flow: z.string(),
  options: z.strictObject({
    priority: z.number().optional(),
    delay: z.number().optional(),
    attempts: z.number().optional(),
  }),
  tree,
});

/** A flow that was queued and is not finished. */
export type QueueFile = z.output<typeof schema>;

const SUFFIX = '.queue.json';

/** Remembers a flow in its folder. */
export async function writeQueueFile(tree: JobTree, options: AddOptions): Promise<void> {
  const { flow, out } = tree.message;
  const content: QueueFile = { kind: 'unfold.queue/1', unfold: packageVersion(), flow, options, tree };
  if (isRemote(out)) await writeStoredJson(out, flow + SUFFIX, content);
  else await writeJson(join(out, flow + SUFFIX), content);
}

/** Forgets a flow that is done. */
export async function removeQueueFile({ flow, out }: { flow: string; out: string }): Promise<void> {
  if (!isRemote(out)) return rm(join(out, flow + SUFFIX), { force: true });
  await (await storeOf(out)).remove(flow + SUFFIX);
}

/**
 * The files of unfinished flows in a place and the folders below it; of a damaged one, what is wrong with it.
 * @throws UnfoldError `missing-file` if there is no such folder
 */
export async function* findQueueFiles(place: string): AsyncGenerator<QueueFile | UnfoldError> {
  if (!isRemote(place)) {
    for (const path of await below(place)) yield await parsed(readJson(path), path);
    return;
  }
  for await (const { name } of (await storeOf(place)).list())
    if (name.endsWith(SUFFIX)) yield await parsed(readStoredJson(place, name), `${place}: ${name}`);
}

async function below(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch((cause) => {
    throw new UnfoldError('missing-file', {
      where: dir,
      expected: 'a folder with runs in it',
      found: 'no readable folder',
      todo: 'name the folders that were given as --out, or one above them',
      cause,
    });
  });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(SUFFIX));
  return files.map(({ parentPath, name }) => join(parentPath, name)).sort();
}

/** What is wrong with one file, and no reason to leave the others. */
const DAMAGED = new Set(['bad-json', 'unreadable', 'missing-file']);

async function parsed(reading: Promise<unknown>, where: string): Promise<QueueFile | UnfoldError> {
  const content = await reading.catch((error: unknown) => error);
  if (content instanceof UnfoldError && DAMAGED.has(content.kind)) return content;
  if (content instanceof Error) throw content;
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  return new UnfoldError('bad-json', {
    where,
    expected: 'what unfold enqueue writes, by this version of Unfold',
    found: z.prettifyError(parsed.error).replaceAll('\n', ' '),
    todo: 'queue the work again with unfold enqueue, and remove the file',
  });
}
