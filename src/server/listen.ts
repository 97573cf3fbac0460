/** @file Opening a port, saying why that does not work, and closing it in order. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { UnfoldError } from '../errors.ts';

/** Milliseconds for requests under way when the server ends. */
const GRACE = 1000;

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
