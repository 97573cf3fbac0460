/**
 * @file The application: checks that hold for every request, then the subjects, one file each. A new page is a new file in
 * `routes/` and a line in the list.
 */
import { Hono, type MiddlewareHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { UnfoldError } from '../errors.ts';
import { refused } from '../jobs/redis/judge.ts';
import { type AccessOptions, access } from './access.ts';
import { html } from './html.ts';
import { boundedBody } from './listen.ts';
import { layout } from './page/layout.ts';
import { inTime, oneLine } from './redis.ts';
import { actionRoutes } from './routes/actions.ts';
import { boardRoutes } from './routes/board.ts';
import { eventRoutes } from './routes/events.ts';
import { flowRoutes } from './routes/flows.ts';
import { healthRoutes } from './routes/health.ts';
import { jobRoutes } from './routes/jobs.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { pageRoutes } from './routes/pages.ts';
import type { Routes, World } from './world.ts';

const SUBJECTS: readonly Routes[] = [
  healthRoutes,
  metricsRoutes,
  eventRoutes,
  flowRoutes,
  jobRoutes,
  actionRoutes,
  pageRoutes,
  boardRoutes,
];

/** Milliseconds after which an answer that waits for Redis is given up. */
const DEADLINE = 10_000;

/** Answered without Redis, by themselves. */
const ALONE = ['/health', '/ready', '/metrics', '/assets/', '/api/events', '/queues/static/'];

/** Our pages run our script only, and are shown in no other page. */
const STRICT =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/** bull-board's page sets styles inline, and would load a font from elsewhere. */
const BOARD =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/** The application over a world. */
export function createApp(world: World, options: AccessOptions): Hono {
  const app = new Hono();
  app.use(headers, access({ ...options, readOnly: world.readOnly }), boundedBody, redisInTime(world));
  for (const subject of SUBJECTS) subject(app, world);
  app.notFound((c) => c.json({ error: 'there is nothing here' }, 404));
  app.onError((thrown, c) => {
    const error = refused({ shown: world.connection.url }, thrown);
    const status = statusOf(error, world);
    const reason = error instanceof UnfoldError ? lesson(error) : oneLine(error);
    if (!(c.req.header('accept') ?? '').includes('text/html')) return c.json({ error: reason }, status);
    const text = error instanceof UnfoldError ? error.message : oneLine(error);
    const body = html`<h1>${status === 404 ? 'Not here' : 'That did not work'}</h1><pre class="why">${text}</pre><p><a href="/">All flows</a></p>`;
    const frame = { title: 'Error', queue: world.connection.url, readOnly: world.readOnly, body };
    return c.html(layout(frame).text, status);
  });
  return app;
}

const headers: MiddlewareHandler = async (c, next) => {
  await next();
  const board = c.req.path === '/queues' || c.req.path.startsWith('/queues/');
  c.header('Content-Security-Policy', board ? BOARD : STRICT);
  c.header('X-Content-Type-Options', 'nosniff');
  c.header('X-Frame-Options', 'DENY');
  c.header('Referrer-Policy', 'same-origin');
  c.header('Cross-Origin-Resource-Policy', 'same-origin');
  if (!c.res.headers.has('Cache-Control')) c.header('Cache-Control', 'no-store');
};

/** The connection keeps commands until Redis is back; a browser is told at once instead. */
function redisInTime(world: World): MiddlewareHandler {
  return async (c, next) => {
    const page = c.req.path === '/' || c.req.path === '/workers';
    if (
      page ||
      ALONE.some((path) => c.req.path === path || (path.endsWith('/') && c.req.path.startsWith(path)))
    ) {
      return next();
    }
    const trouble = world.redis.seemsUp() ? undefined : await world.redis.trouble();
    if (trouble !== undefined) throw new Error(trouble);
    await inTime(next(), DEADLINE, () => `Redis did not answer within ${DEADLINE / 1000} s`);
    return undefined;
  };
}

const STATUS: Record<string, ContentfulStatusCode> = {
  'no-such-job': 404,
  'no-such-stage': 404,
  'ambiguous-job': 409,
};

function statusOf(error: Error, world: World): ContentfulStatusCode {
  if (error instanceof UnfoldError) return STATUS[error.kind] ?? 400;
  return !world.redis.seemsUp() || error.message.startsWith('Redis ') ? 503 : 500;
}

function lesson(error: UnfoldError) {
  const { where, expected, found, todo } = error.lesson;
  return { kind: error.kind, where, expected, found, todo };
}
