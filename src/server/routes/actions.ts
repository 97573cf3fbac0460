/**
 * @file What can be changed from a browser or with curl: POST, answered in JSON, or for a form without script by leading
 * back to the page. access.ts has made sure before that the request is ours and that changing is allowed.
 */
import type { Context } from 'hono';
import { cancel, pause, resume, retry } from '../../jobs/watch/actions.ts';
import { findFlowNow, findJobNow } from '../find.ts';
import type { Routes } from '../world.ts';

const BY = 'unfold serve';

export const actionRoutes: Routes = (app, world) => {
  const { connection } = world;
  app.post('/api/jobs/:id/cancel', async (c) => {
    const target = await findJobNow(world, c.req.param('id'), c.req.query('queue'));
    return answer(c, await cancel(connection, target, { by: BY, reason: await reason(c) }));
  });
  app.post('/api/jobs/:id/retry', async (c) => {
    const { jobs } = await findJobNow(world, c.req.param('id'), c.req.query('queue'));
    return answer(c, await retry(connection, jobs));
  });
  app.post('/api/flows/:id/cancel', async (c) => {
    const target = await findFlowNow(world, c.req.param('id'));
    return answer(c, await cancel(connection, target, { by: BY, reason: await reason(c) }));
  });
  app.post('/api/flows/:id/retry', async (c) => {
    const { jobs } = await findFlowNow(world, c.req.param('id'));
    return answer(c, await retry(connection, jobs));
  });
  app.post('/api/queues/pause', async (c) => answer(c, await pause(connection, stages(c))));
  app.post('/api/queues/resume', async (c) => answer(c, await resume(connection, stages(c))));
};

/** `?stage=train&stage=harvest`; none: all. */
function stages(c: Context): string[] {
  return c.req.queries('stage') ?? [];
}

/** `reason` of a form or of a JSON body. */
async function reason(c: Context): Promise<string> {
  const json = (c.req.header('content-type') ?? '').includes('json');
  const body = await (json ? c.req.json<unknown>() : c.req.parseBody()).catch(() => undefined);
  const given = body && typeof body === 'object' ? (body as { reason?: unknown }).reason : undefined;
  return typeof given === 'string' ? given.slice(0, 300) : '';
}

function answer(c: Context, result: object): Response {
  if (!(c.req.header('accept') ?? '').includes('text/html')) return c.json(result);
  const from = c.req.header('referer') ?? '';
  const back = URL.canParse(from) ? new URL(from).pathname : '/';
  return c.redirect(back.startsWith('//') ? '/' : back, 303);
}
