/** @file `/api/jobs/ID` and its log, and `/api/workers`. */
import { UnfoldError } from '../../errors.ts';
import { jobMessage } from '../../jobs/message.ts';
import { jsonOf, queueKey, readField } from '../../jobs/watch/read.ts';
import type { JobView } from '../../jobs/watch/view.ts';
import { numberWithin } from '../../number-text.ts';
import { findJob } from '../find.ts';
import { lineageOf } from '../lineage.ts';
import type { Routes, World } from '../world.ts';

/** Lines of a log in one answer, and characters of a message for reading. */
const MOST_LINES = 1000;
const MOST_TEXT = 100_000;

export const jobRoutes: Routes = (app, world) => {
  app.get('/api/jobs/:id', async (c) => {
    const { job, flow } = await findJob(world, c.req.param('id'), c.req.query('queue'));
    const data = await readData(world, job);
    const lineage = await lineageOf(data.message, world);
    return c.json({ job, flow: { id: flow.id, state: flow.state }, message: data.value ?? null, lineage });
  });
  app.get('/api/jobs/:id/log', async (c) => {
    const { job } = await findJob(world, c.req.param('id'), c.req.query('queue'));
    return c.json(await readLog(world, job, lineNumber(c.req.query('after'))));
  });
  app.get('/api/workers', async (c) => {
    const { workers, at, trouble } = await world.feed.now();
    return c.json({ at, workers, ...(trouble ? { trouble } : {}) }, trouble ? 503 : 200);
  });
};

/** @throws UnfoldError `bad-setting` */
function lineNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const after = numberWithin(text, { whole: true, least: 0 });
  if (after !== undefined) return after;
  throw new UnfoldError('bad-setting', {
    where: 'after',
    expected: 'the number of a line, from 0 on: the last answer’s “next”',
    found: JSON.stringify(text),
    todo: 'leave it out for the end of the log',
  });
}

/** A job's message as it lies in Redis: `value` if it is JSON, `message` if it is valid besides, `text` for reading. */
export async function readData({ connection }: World, { queue, id }: JobView) {
  const text = (await readField(connection.client, queueKey(queue, id), 'data')) ?? '';
  const value = jsonOf(text);
  const shown = value === undefined ? text : JSON.stringify(value, null, 2);
  return { value, message: jobMessage.safeParse(value).data, text: shown.slice(0, MOST_TEXT) };
}

/** Lines of a job's log from number `after` on (its end if undefined); `next` is where to go on. */
export async function readLog(
  { connection: { client } }: World,
  { queue, id }: JobView,
  after: number | undefined,
): Promise<{ lines: string[]; next: number; total: number }> {
  const key = queueKey(queue, `${id}:logs`);
  // A key of another type is garbage that somebody put there.
  const total = await client.llen(key).catch(() => 0);
  // A log that was cut since (BullMQ keeps the last lines of long ones) is shown again from where it begins.
  const from = after === undefined || after > total ? Math.max(0, total - MOST_LINES) : after;
  const lines = await client.lrange(key, from, from + MOST_LINES - 1).catch(() => []);
  return { lines, next: from + lines.length, total };
}
