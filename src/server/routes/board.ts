/**
 * @file `/queues`: bull-board over every queue that there is; one that came since the last request is added. It shows what
 * our page does not: each job's options, schedules, datastore. Garbage that BullMQ cannot parse is left to our page.
 */
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import type { IServerAdapter } from '@bull-board/api/typings/app';
import { HonoAdapter } from '@bull-board/hono';
import { serveStatic } from '@hono/node-server/serve-static';
import type { Job } from 'bullmq';
import type { Routes } from '../world.ts';

const BASE = '/queues';

export const boardRoutes: Routes = (app, world) => {
  const adapter = new HonoAdapter(serveStatic).setBasePath(BASE);
  const board = createBullBoard({
    queues: [],
    // Its types come from a copy of @bull-board/api of its own, one patch older.
    serverAdapter: adapter as unknown as IServerAdapter,
    options: {
      uiConfig: {
        boardTitle: 'Unfold: queues',
        miscLinks: [{ text: 'Flows', url: '/' }],
      },
    },
  });
  const shown = new Set<string>();
  const refresh = async () => {
    const names = await world.queues.names();
    for (const name of names) {
      if (!shown.has(name)) {
        board.addQueue(new TolerantAdapter(world.queues.get(name), { readOnlyMode: world.readOnly }));
        shown.add(name);
      }
    }
    for (const name of shown) {
      if (names.includes(name)) continue;
      board.removeQueue(name);
      shown.delete(name);
    }
  };
  app.use(`${BASE}/api/*`, async (_c, next) => {
    await refresh();
    await next();
  });
  app.route(BASE, adapter.registerPlugin());
  app.get(`${BASE}/`, (c) => c.redirect(BASE, 301));
};

/** What is nested so deeply that it cannot be written as JSON again is left out. */
function shallow(job: Job): Job {
  for (const field of ['data', 'returnvalue', 'progress', 'opts'] as const) {
    try {
      JSON.stringify(job[field]);
    } catch {
      Object.assign(job, { [field]: {} });
    }
  }
  return job;
}

/** BullMQ throws at the first job whose data is not JSON; the other jobs of the page are shown all the same. */
class TolerantAdapter extends BullMQAdapter {
  override async getJobs(...[states, start, end]: Parameters<BullMQAdapter['getJobs']>): Promise<Job[]> {
    try {
      return (await super.getJobs(states, start, end)).map(shallow);
    } catch {
      const found = Array.from({ length: (end ?? 0) - (start ?? 0) + 1 }, async (_, index) => {
        const at = (start ?? 0) + index;
        return super.getJobs(states, at, at).then(
          (jobs) => jobs.map(shallow),
          () => [],
        );
      });
      return (await Promise.all(found)).flat();
    }
  }
}
