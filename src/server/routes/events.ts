/**
 * @file `/api/events`: a stream of changes (Server-Sent Events), at most once a second. `?as=html` is our page's dialect.
 * A browser whose connection broke comes back by itself with Last-Event-ID.
 */
import { streamSSE } from 'hono/streaming';
import { htmlDialect, jsonDialect } from '../changes.ts';
import { createChannel } from '../channel.ts';
import { flowArticle, summary } from '../page/flows.ts';
import { workersTable } from '../page/workers.ts';
import type { Routes } from '../world.ts';

/** Streams open at the same time; more would be a mistake or an attack. */
const MOST_STREAMS = 200;

export const eventRoutes: Routes = (app, world) => {
  const pieces = {
    flow: (flow: Parameters<typeof flowArticle>[0]) => flowArticle(flow, world.readOnly),
    workers: workersTable,
    summary,
  };
  const channels = {
    json: createChannel(world.feed, jsonDialect),
    html: createChannel(world.feed, htmlDialect(pieces)),
  };
  let open = 0;
  app.get('/api/events', (c) => {
    if (open >= MOST_STREAMS) return c.json({ error: 'too many streams are open' }, 503);
    const channel = channels[c.req.query('as') === 'html' ? 'html' : 'json'];
    c.header('X-Accel-Buffering', 'no');
    open++;
    return streamSSE(c, async (stream) => {
      const gone = new AbortController();
      const leave = () => gone.abort();
      stream.onAbort(leave);
      world.signal.addEventListener('abort', leave, { once: true });
      try {
        for await (const event of channel.events(c.req.header('last-event-id'), gone.signal)) {
          if (event) await stream.writeSSE(event);
          else await stream.write(': quiet\n\n');
        }
      } finally {
        world.signal.removeEventListener('abort', leave);
        open--;
      }
    });
  });
};
