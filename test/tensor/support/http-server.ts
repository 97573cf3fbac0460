/** @file A file server on the loopback address whose behaviour a test chooses request by request. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestServer {
  url: string;
  /** `GET /path` with the Range header, in order. */
  requests: { path: string; range?: string; authorization?: string }[];
  /** Called with `host:port` when a client asks for a tunnel, as through a proxy; the tunnel is refused. */
  onConnect(listener: (target: string) => void): void;
  close(): Promise<void>;
}

/** Starts a server on a free port. */
export async function serve(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<TestServer> {
  const requests: TestServer['requests'] = [];
  const server = createServer((request, response) => {
    const { range, authorization } = request.headers;
    requests.push({ path: request.url!, range, authorization });
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  const onConnect: TestServer['onConnect'] = (listener) => {
    server.on('connect', (request, socket) => {
      listener(request.url!);
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
  };
  return { url: `http://127.0.0.1:${port}`, requests, onConnect, close };
}

/** Answers with `content`, from the byte that the Range header asks for; `cut` ends the connection after that many bytes. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  cut?: number,
): void {
  const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const rest = content.subarray(from);
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': rest.length,
    ...(from > 0 ? { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
  });
  if (cut === undefined) response.end(rest);
  else response.write(rest.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
}
