/**
 * @file `/health`: this process is alive. `/ready`: it can do its work, which means that Redis answers. Both are open to
 * load balancers without a token, so `/ready` tells them no addresses.
 */
import type { Routes } from '../world.ts';

export const healthRoutes: Routes = (app, world) => {
  app.get('/health', (c) => c.json({ status: 'ok', uptime_seconds: Math.round(process.uptime()) }));
  app.get('/ready', async (c) => {
    const reason = await world.redis.trouble();
    if (reason === undefined) return c.json({ status: 'ready' });
    return c.json({ status: 'not ready', reason: world.trusted(c) ? reason : 'Redis does not answer' }, 503);
  });
};
