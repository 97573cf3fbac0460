/** @file Opening a port, saying why that does not work, and closing it in order. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { UnfoldError } from '../errors.ts';

/** Milliseconds for requests under way when the server ends. */
const GRACE = 1000;

/** Bytes of a request's body: reasons, and messages of jobs that bull-board changes. */
export const MOST_BODY = 1 << 20;

/** Connections at the same time; each page has two or three. */
const MOST_CONNECTIONS = 1000;

/** Milliseconds for a request's head, for all of it, and for a connection on which nothing moves (events say something). */
const HEAD_TIME = 10_000;
const REQUEST_TIME = 30_000;
const IDLE_TIME = 60_000;

/** How a server is told to wait for nobody for long; tests wait less. */
export interface Patience {
  headTime?: number;
  requestTime?: number;
  connections?: number;
}

/** A server over an application: whoever sends slowly, much, or on many connections, is turned away. */
export function httpServer(
  fetch: Parameters<typeof createAdaptorServer>[0]['fetch'],
  { headTime = HEAD_TIME, requestTime = REQUEST_TIME, connections = MOST_CONNECTIONS }: Patience = {},
): Server {
  const server = createAdaptorServer({
    fetch,
    serverOptions: {
      headersTimeout: headTime,
      requestTimeout: requestTime,
      connectionsCheckingInterval: Math.min(1000, headTime / 2),
      maxHeaderSize: 16_384,
    },
  }) as Server;
  server.maxConnections = connections;
  server.setTimeout(IDLE_TIME);
  return server;
}

/** Answers 413 to a body that is too large, whether its length is told beforehand or it comes in pieces. */
export const boundedBody: MiddlewareHandler = bodyLimit({
  maxSize: MOST_BODY,
  onError: (c) => {
    c.header('Connection', 'close');
    return c.json({ error: `a body of more than ${MOST_BODY} bytes` }, 413);
  },
});

/** Listens; the port that was chosen. @throws UnfoldError `port-taken`, `bad-host` */
export async function listen(server: Server, port: number, host: string): Promise<number> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    throw explain(cause as NodeJS.ErrnoException, port, host);
  }
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : port;
}

/** Takes no more requests, lets those under way end for a second, then ends them. */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  // Connections that a browser keeps for later become idle one by one.
  const idle = setInterval(() => server.closeIdleConnections(), 25);
  const late = setTimeout(() => server.closeAllConnections(), GRACE);
  await closed;
  clearInterval(idle);
  clearTimeout(late);
}

/** As it stands in a URL. */
export function shownHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function explain(cause: NodeJS.ErrnoException, port: number, host: string): UnfoldError {
  if (cause.code === 'EADDRINUSE') {
    return new UnfoldError('port-taken', {
      where: `--port ${port}`,
      expected: 'a port that nobody listens on',
      found: `another program has ${shownHost(host)}:${port}`,
      todo: '--port 0 takes any that is free',
      cause,
    });
  }
  const denied = cause.code === 'EACCES';
  return new UnfoldError(denied ? 'port-taken' : 'bad-host', {
    where: denied ? `--port ${port}` : `--host ${host}`,
    expected: denied ? 'a port that you may listen on' : 'an address of this machine',
    found: cause.message,
    todo: denied ? 'take a port above 1023' : '127.0.0.1 is for this machine only, 0.0.0.0 for all networks',
    cause,
  });
}
