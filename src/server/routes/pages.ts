/** @file Our own pages, and the two files that they need: a style sheet and a script. */
import { readFile } from 'node:fs/promises';
import type { Context } from 'hono';
import { runsDisk } from '../disk.ts';
import type { State } from '../feed.ts';
import { findFlow, findJob } from '../find.ts';
import { html, type Piece } from '../html.ts';
import { lineageOf } from '../lineage.ts';
import { assetPath } from '../page/asset-path.ts';
import { diskBody } from '../page/disk.ts';
import { flowArticle, flowList, queueButtons, summary } from '../page/flows.ts';
import { jobBody, jobFacts } from '../page/job.ts';
import { layout } from '../page/layout.ts';
import { workersTable } from '../page/workers.ts';
import type { Routes, World } from '../world.ts';
import { readData } from './jobs.ts';

export const pageRoutes: Routes = (app, world) => {
  const { readOnly } = world;
  app.get('/', async (c) => {
    const state = await world.feed.now();
    const body = html`<h1 class="hidden">Flows</h1>
<div class="bar"><p data-place="summary" class="summary">${summary(state)}</p>${queueButtons(readOnly)}</div>
<div data-live>${flowList(state.flows, readOnly)}</div>
<h2>Workers</h2><div data-place="workers">${workersTable(state)}</div>`;
    return page(c, world, 'Flows', body, state);
  });
  app.get('/workers', async (c) => {
    const state = await world.feed.now();
    const body = html`<h1>Workers</h1><div data-live data-place="workers">${workersTable(state)}</div>`;
    return page(c, world, 'Workers', body, state);
  });
  app.get('/flows/:id', async (c) => {
    const flow = await findFlow(world, c.req.param('id'));
    const article = flowArticle(flow, readOnly, true);
    if (c.req.query('part') !== undefined) return c.html(article.text);
    return page(
      c,
      world,
      flow.id,
      html`<h1 class="hidden">${flow.id}</h1><div data-refresh>${article}</div>`,
    );
  });
  app.get('/jobs/:id', async (c) => {
    const { job } = await findJob(world, c.req.param('id'), c.req.query('queue'));
    if (c.req.query('part') !== undefined) return c.html(jobFacts(job, readOnly).text);
    const { message, text } = await readData(world, job);
    const lineage = await lineageOf(message, world);
    return page(c, world, job.id, jobBody({ job, message: text, lineage, readOnly }));
  });
  app.get('/disk', async (c) => page(c, world, 'Disk', diskBody(await disk(world))));
  app.get('/api/runs', async (c) => c.json({ runs: await disk(world) }));
  asset(app, 'page.css', 'text/css; charset=utf-8');
  asset(app, 'page.js', 'text/javascript; charset=utf-8');
};

function page(c: Context, world: World, title: string, body: Piece, state?: State): Response {
  const frame = { title, queue: world.connection.url, readOnly: world.readOnly, body };
  return c.html(layout({ ...frame, ...(state?.trouble ? { trouble: state.trouble } : {}) }).text);
}

async function disk(world: World) {
  const { flows } = await world.feed.now();
  return runsDisk(
    world.runs,
    flows.flatMap(({ out }) => (out === undefined ? [] : [out])),
  );
}

function asset(app: Parameters<Routes>[0], name: string, type: string): void {
  app.get(`/assets/${name}`, async (c) => {
    return c.body(await readFile(assetPath(name)), 200, {
      'Content-Type': type,
      'Cache-Control': 'no-cache',
    });
  });
}
