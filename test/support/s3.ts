/**
 * @file A real S3-speaking server for a test (moto, installed from PyPI once) behind a gate of our own on a free port. The
 * gate knows one key, and does harm on request: cuts connections in the middle, loses answers, answers with errors.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startMoto } from './moto.ts';

// As s3-client.ts does, for tests that make a client of their own before it is loaded.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

/** The key pair that the server knows; anybody else is refused. */
export const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'UNFOLDTEST', AWS_SECRET_ACCESS_KEY: 'unfold-test' };

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
  stop(): Promise<void>;
}

/** Starts a server with one empty bucket; {@link CREDENTIALS} have to be in the environment of whoever uses it. */
export async function startS3({ conditional = true }: S3Options = {}): Promise<TestS3> {
  const bucket = 'unfold-test';
  const inner = await startMoto();
  await fetch(`${inner.url}/${bucket}`, { method: 'PUT' });
  const gate = new Gate(inner.port, conditional);
  const endpoint = `http://127.0.0.1:${await gate.listen()}`;
  return {
    endpoint,
    bucket,
    asked: gate.asked,
    url: (prefix = '') => `s3://${bucket}/${prefix}?endpoint=${endpoint}`,
    harm: (choose) => {
      gate.choose = choose;
    },
    async leftUploads() {
      const text = await (await fetch(`${inner.url}/${bucket}?uploads`)).text();
      return [...text.matchAll(/<UploadId>([^<]*)</g)].map(([, id]) => id!);
    },
    async stop() {
      await gate.close();
      await inner.stop();
    },
  };
}

class Gate {
  readonly asked: Asked[] = [];
  choose: ((asked: Asked) => Harm | undefined) | undefined;
  readonly #inner: number;
  readonly #conditional: boolean;
  readonly #server: Server;

  constructor(inner: number, conditional: boolean) {
    this.#inner = inner;
    this.#conditional = conditional;
    this.#server = createServer((from, to) => {
      this.#handle(from, to).catch(() => from.socket?.destroy());
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
    const { socket } = from;
    const asked = { method: from.method ?? '', path: from.url ?? '', number: this.asked.length + 1 };
    this.asked.push(asked);
    const harm = this.choose?.(asked) ?? {};
    const body = await bodyOf(from, harm.cutRequest);
    if (body === undefined) return void socket.destroy();
    if (harm.answer) return answerError(to, harm.answer.status, harm.answer.code);
    const key = /Credential=([^/]*)/.exec(from.headers.authorization ?? '')?.[1];
    if (key !== undefined && key !== CREDENTIALS.AWS_ACCESS_KEY_ID)
      return answerError(to, 403, 'InvalidAccessKeyId');
    await this.#forward(from, to, body, harm);
  }

  async #forward(from: IncomingMessage, to: ServerResponse, body: Buffer, harm: Harm): Promise<void> {
    const { 'if-none-match': _, ...plain } = from.headers;
    const headers = this.#conditional ? from.headers : plain;
    const outgoing = request({ port: this.#inner, method: from.method, path: from.url, headers }).end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    if (harm.loseAnswer) {
      answer.resume();
      await once(answer, 'end');
      from.socket?.destroy();
      return;
    }
    to.writeHead(answer.statusCode ?? 500, answer.headers);
    let left = harm.cutAnswer ?? Number.POSITIVE_INFINITY;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      const piece = chunk.subarray(0, left);
      left -= piece.length;
      await new Promise((resolve) => to.write(piece, resolve));
      if (left > 0) continue;
      from.socket?.destroy();
      return;
    }
    to.end();
  }
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
