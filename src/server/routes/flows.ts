/** @file `/api/flows` and `/api/flows/ID`: what `unfold jobs --json` prints. */
import { snapshot } from '../../jobs/watch/snapshot.ts';
import { findFlow } from '../find.ts';
import type { Routes } from '../world.ts';

export const flowRoutes: Routes = (app, world) => {
  app.get('/api/flows', async (c) => {
    if (c.req.query('all') !== undefined) return c.json({ flows: await snapshot(world.connection) });
    const { flows, at, trouble } = await world.feed.now();
    return c.json({ at, flows, ...(trouble ? { trouble } : {}) }, trouble ? 503 : 200);
  });
  app.get('/api/flows/:id', async (c) => c.json(await findFlow(world, c.req.param('id'))));
};
