/**
 * @file A real S3-speaking server for a test (s3rver) behind a gate of our own on a free port. The gate adds what s3rver
 * lacks and the protocol promises: bodies are taken whole or not at all, conditional writes, names in order. And it does
 * harm on request: cuts connections in the middle, loses answers, answers with errors.
 */
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The key pair that s3rver knows; anybody else is refused. */
export const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };

/** What happens to one request. */
export interface Harm {
  /** The connection is closed after so many bytes of the request's body. */
  cutRequest?: number;
  /** … of the answer's body. */
  cutAnswer?: number;
  /** The request is carried out, and its answer never comes. */
  loseAnswer?: boolean;
  /** Not carried out: the code of the answer, of HTTP and of S3. */
  answer?: { status: number; code: string };
}

/** A request as a test looks at it. */
export interface Asked {
  method: string;
  /** Path and query. */
  path: string;
  /** Counts from 1 over all requests. */
  number: number;
}

/** How the server is to be. */
export interface S3Options {
  /** False: `If-None-Match` is ignored, as by older servers. Default true. */
  conditional?: boolean;
}

/** A running server. */
export interface TestS3 {
  endpoint: string;
  bucket: string;
  /** `s3://BUCKET/PREFIX?endpoint=…` */
  url(prefix?: string): string;
  /** Called for every request; what it returns is done to it. */
  harm(choose: ((asked: Asked) => Harm | undefined) | undefined): void;
  /** Requests so far. */
  asked: Asked[];
  /** Ids of multipart uploads that were neither completed nor aborted. */
  leftUploads(): Promise<string[]>;
  /** The server's own files. */
  dir: string;
  stop(): Promise<void>;
}

interface S3rver {
  store: { listObjects(bucket: string, options: ListOptions): Promise<Listed> };
  run(): Promise<AddressInfo>;
  close(): Promise<void>;
}
interface ListOptions {
  startAfter?: string;
  maxKeys?: number;
}
interface Listed {
  objects: { key: string }[];
  isTruncated: boolean;
}

/** Starts a server with one empty bucket; {@link CREDENTIALS} have to be in the environment of whoever uses it. */
export async function startS3({ conditional = true }: S3Options = {}): Promise<TestS3> {
  const dir = await mkdtemp(join(tmpdir(), 'us3-'));
  const bucket = 'unfold-test';
  const inner = await startInner(dir, bucket);
  const gate = new Gate(inner.port, conditional);
  const endpoint = `http://127.0.0.1:${await gate.listen()}`;
  return {
    endpoint,
    bucket,
    dir,
    asked: gate.asked,
    url: (prefix = '') => `s3://${bucket}/${prefix}?endpoint=${endpoint}`,
    harm: (choose) => {
      gate.choose = choose;
    },
    leftUploads: () => readdir(join(dir, bucket, '._S3rver_uploads')).catch(() => []),
    async stop() {
      await gate.close();
      await inner.server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function startInner(dir: string, bucket: string): Promise<{ server: S3rver; port: number }> {
  const Server = createRequire(import.meta.url)('@20minutes/s3rver') as new (options: object) => S3rver;
  const options = {
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory: dir,
    vhostBuckets: false,
    allowMismatchedSignatures: true,
  };
  const server = new Server({ ...options, configureBuckets: [{ name: bucket }] });
  const list = server.store.listObjects.bind(server.store);
  // It lists in the file system's order, and its pages skip what is out of order.
  server.store.listObjects = async (name, { startAfter = '', maxKeys = 1000, ...rest }) => {
    const all = await list(name, { ...rest, maxKeys: Number.POSITIVE_INFINITY });
    const bytes = (text: string) => Buffer.from(text);
    const sorted = all.objects
      .sort((a, b) => Buffer.compare(bytes(a.key), bytes(b.key)))
      .filter(({ key }) => Buffer.compare(bytes(key), bytes(startAfter)) > 0);
    return { ...all, objects: sorted.slice(0, maxKeys), isTruncated: sorted.length > maxKeys };
  };
  const { port } = await server.run();
  return { server, port };
}

class Gate {
  readonly asked: Asked[] = [];
  choose: ((asked: Asked) => Harm | undefined) | undefined;
  readonly #inner: number;
  readonly #conditional: boolean;
  readonly #server: Server;
  /** Path → the last conditional write of it, so that of two at the same time one sees the other. */
  readonly #writes = new Map<string, Promise<unknown>>();

  constructor(inner: number, conditional: boolean) {
    this.#inner = inner;
    this.#conditional = conditional;
    this.#server = createServer((from, to) => {
      this.#handle(from, to).catch(() => from.socket.destroy());
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const asked = { method: from.method ?? '', path: from.url ?? '', number: this.asked.length + 1 };
    this.asked.push(asked);
    const harm = this.choose?.(asked) ?? {};
    const body = await bodyOf(from, harm.cutRequest);
    if (body === undefined) return void from.socket.destroy();
    if (harm.answer) return answerError(to, harm.answer.status, harm.answer.code);
    const forward = () => this.#forward(from, to, body, harm);
    const isFirst = this.#conditional && from.headers['if-none-match'] === '*';
    if (!isFirst) return forward();
    const path = (from.url ?? '').split('?')[0] ?? '';
    const turn = (this.#writes.get(path) ?? Promise.resolve()).then(async () => {
      if (await this.#isThere(path)) answerError(to, 412, 'PreconditionFailed');
      else await forward();
    });
    this.#writes.set(
      path,
      turn.catch(() => undefined),
    );
    return turn;
  }

  async #isThere(path: string): Promise<boolean> {
    const head = request({ port: this.#inner, method: 'HEAD', path }).end();
    const [answer] = (await once(head, 'response')) as [IncomingMessage];
    answer.resume();
    return answer.statusCode === 200;
  }

  async #forward(from: IncomingMessage, to: ServerResponse, body: Buffer, harm: Harm): Promise<void> {
    const { 'if-none-match': _, ...headers } = from.headers;
    const outgoing = request({ port: this.#inner, method: from.method, path: from.url, headers }).end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    if (harm.loseAnswer) {
      answer.resume();
      await once(answer, 'end');
      from.socket.destroy();
      return;
    }
    if (from.method === 'GET' && /[?&]list-type=2/.test(from.url ?? '')) return answerList(answer, to);
    to.writeHead(answer.statusCode ?? 500, answer.headers);
    let left = harm.cutAnswer ?? Number.POSITIVE_INFINITY;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      const piece = chunk.subarray(0, left);
      left -= piece.length;
      if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
      if (left > 0) continue;
      await new Promise((resolve) => to.write('', resolve));
      from.socket.destroy();
      return;
    }
    to.end();
  }
}

/** s3rver escapes names twice. */
async function answerList(answer: IncomingMessage, to: ServerResponse): Promise<void> {
  const text = (await bodyOf(answer))?.toString().replaceAll('&amp;', '&') ?? '';
  to.writeHead(answer.statusCode ?? 500, { 'content-type': 'application/xml' });
  to.end(text);
}

/** The whole body, or undefined if it was cut. */
async function bodyOf(from: IncomingMessage, cut = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= cut) return undefined;
  }
  return Buffer.concat(chunks);
}

function answerError(to: ServerResponse, status: number, code: string): void {
  to.writeHead(status, { 'content-type': 'application/xml' });
  to.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wanted</Message></Error>`);
}
