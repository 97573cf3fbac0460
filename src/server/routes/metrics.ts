/** @file `/metrics` for Prometheus. Scrapes at the same time share one. */
import { CONTENT_TYPE, processRegistry, scrape } from '../metrics/collect.ts';
import type { Routes } from '../world.ts';

export const metricsRoutes: Routes = (app, world) => {
  const processes = processRegistry();
  let running: Promise<string> | undefined;
  app.get('/metrics', async (c) => {
    running ??= scrape(world, processes).finally(() => (running = undefined));
    return c.body(await running, 200, { 'Content-Type': CONTENT_TYPE });
  });
};
