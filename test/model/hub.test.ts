/** @file The hub client against a local server that speaks as huggingface.co does, and misbehaves on demand. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import type { UnfoldError } from '../../src/errors.ts';
import { parseReference } from '../../src/model/hub/reference.ts';
import { type HubSettings, hubSettings, resolveModel } from '../../src/model/hub.ts';

const COMMIT = 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00';
const WEIGHTS = Buffer.alloc(3_000_000, 'unfold');
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const gitHash = (bytes: Buffer) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

interface Asked {
  method: string;
  url: string;
  range: string | undefined;
  authorization: string | undefined;
}

/** A hub and the store its large files are redirected to, on two ports (two origins). */
class FakeHub {
  readonly files = new Map<string, Buffer>([
    ['config.json', Buffer.from('{"model_type":"gpt2"}')],
    ['tokenizer.json', Buffer.from('{}')],
    ['model.safetensors', WEIGHTS],
  ]);
  readonly asked: Asked[] = [];
  readonly askedOfStore: Asked[] = [];
  /** Bytes after which the store cuts the connection, one entry an answer. */
  cuts: number[] = [];
  /** Statuses answered before the truth is. */
  refusals: number[] = [];
  /** Refuses everything: status and error code. */
  closed: { status: number; code?: string } | undefined;
  etag: string | undefined;
  commit: string | undefined = COMMIT;
  ranges = true;
  #hub: Server | undefined;
  #store: Server | undefined;

  async start(): Promise<void> {
    this.#hub = await listen((request, response) => this.#answer(request, response));
    this.#store = await listen((request, response) => this.#serve(request, response));
  }

  get endpoint(): string {
    return origin(this.#hub!);
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server?.closeAllConnections();
      await new Promise((done) => server?.close(done));
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.asked.push(note(request));
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return void response.writeHead(refusal).end();
    if (this.closed) return void response.writeHead(this.closed.status, code(this.closed.code)).end();
    const [id, file] = request.url!.slice(1).split('/resolve/main/') as [string, string];
    const bytes = this.files.get(file);
    if (bytes === undefined) return void response.writeHead(404, code('EntryNotFound')).end();
    const repo = this.commit === undefined ? {} : { 'x-repo-commit': this.commit };
    if (bytes.length > 1_000_000) {
      const linked = { 'x-linked-etag': `"${this.etag ?? sha256(bytes)}"`, 'x-linked-size': bytes.length };
      const location = `${origin(this.#store!)}/${id}/${file}`;
      return void response.writeHead(302, { ...repo, ...linked, location }).end();
    }
    response.writeHead(200, { ...repo, etag: `"${gitHash(bytes)}"`, 'content-length': bytes.length });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.askedOfStore.push(note(request));
    const bytes = this.files.get(request.url!.split('/').at(-1)!)!;
    const from = this.ranges ? Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
    const rest = bytes.subarray(from);
    const status = request.headers.range && this.ranges ? 206 : 200;
    response.writeHead(status, { 'content-length': rest.length });
    const cut = this.cuts.shift();
    if (cut === undefined) return void response.end(rest);
    response.write(rest.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  }
}

function note(request: IncomingMessage): Asked {
  const { range, authorization } = request.headers;
  return { method: request.method!, url: request.url!, range, authorization };
}

const code = (name: string | undefined) => (name === undefined ? {} : { 'x-error-code': name });

async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(answer);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

const origin = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

let hub: FakeHub;
let settings: Partial<HubSettings>;
let cacheDir: string;
const blobs = () => readdir(join(cacheDir, 'models--org--name', 'blobs')).catch(() => []);

beforeEach(async () => {
  hub = new FakeHub();
  await hub.start();
  cacheDir = await mkdtemp(join(tmpdir(), 'unfold-hub-'));
  settings = { endpoint: hub.endpoint, cacheDir, token: 'secret', offline: false, retryDelay: 1 };
});
afterEach(async () => {
  await hub.stop();
  await rm(cacheDir, { recursive: true });
});

const fetchModel = (over: Partial<HubSettings> = {}) =>
  resolveModel('org/name', { settings: { ...settings, ...over } });
const weightsIn = async (dir: string) => WEIGHTS.equals(await readFile(join(dir, 'model.safetensors')));
const failure = async (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (e: unknown) => e as UnfoldError,
  );

describe('a download', () => {
  test("lies in Hugging Face's own cache layout", async () => {
    const dir = await fetchModel();
    expect(dir).toBe(join(cacheDir, 'models--org--name', 'snapshots', COMMIT));
    expect(await weightsIn(dir)).toBe(true);
    expect(await readlink(join(dir, 'model.safetensors'))).toBe(`../../blobs/${sha256(WEIGHTS)}`);
    expect(await readFile(join(cacheDir, 'models--org--name', 'refs', 'main'), 'utf8')).toBe(COMMIT);
  });

  test('is asked for once: the next run puts one question, and an unchanged answer ends it', async () => {
    await fetchModel();
    hub.asked.length = 0;
    await fetchModel();
    expect(hub.asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'HEAD /org/name/resolve/main/config.json',
    ]);
  });

  test('goes on where a cut connection stopped', async () => {
    hub.cuts = [1_000_000, 500_000];
    const dir = await fetchModel();
    expect(await weightsIn(dir)).toBe(true);
    const starts = hub.askedOfStore.map(({ range }) => Number(/\d+/.exec(range ?? '0')![0]));
    expect(starts).toHaveLength(3);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1]!);
  });

  test('goes on where an earlier process stopped', async () => {
    const folder = join(cacheDir, 'models--org--name', 'blobs');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `${sha256(WEIGHTS)}.incomplete`), WEIGHTS.subarray(0, 2_000_000));
    await fetchModel();
    expect(hub.askedOfStore.map(({ range }) => range)).toEqual(['bytes=2000000-']);
  });

  test('starts over where the server does not know ranges', async () => {
    hub.ranges = false;
    hub.cuts = [1_000_000];
    expect(await weightsIn(await fetchModel())).toBe(true);
  });

  test('sends the token to the hub and to no other host', async () => {
    await fetchModel();
    expect(new Set(hub.asked.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer secret']));
    expect(hub.askedOfStore.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test('with the wrong bytes is thrown away', async () => {
    hub.etag = sha256(Buffer.from('something else'));
    const error = await failure(fetchModel());
    expect(error?.kind).toBe('bad-checksum');
    expect((await blobs()).filter((name) => name.startsWith(hub.etag!))).toEqual([]);
  });

  test('outlasts a busy server', async () => {
    hub.refusals = [503, 429, 500];
    await expect(fetchModel()).resolves.toContain(COMMIT);
  });

  test('of shards takes all that the index names', async () => {
    hub.files.delete('model.safetensors');
    const weight_map = { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' };
    hub.files.set('model.safetensors.index.json', Buffer.from(JSON.stringify({ weight_map })));
    for (const name of Object.values(weight_map)) hub.files.set(name, Buffer.from(name));
    const found = await readdir(await fetchModel());
    expect(found).toEqual(expect.arrayContaining(Object.values(weight_map)));
  });

  test('by two at once happens once', async () => {
    const [first, second] = await Promise.all([fetchModel(), fetchModel()]);
    expect(second).toBe(first);
    expect(hub.askedOfStore).toHaveLength(1);
  });

  test('from a plain mirror that names no commit works too', async () => {
    hub.commit = undefined;
    expect(await weightsIn(await fetchModel())).toBe(true);
  });

  test('shows a bar for the large file and ends when the user stops it', async () => {
    const stop = new AbortController();
    const bars: string[] = [];
    const bar = { update: () => stop.abort(), finish() {} };
    const show = (label: string) => {
      bars.push(label);
      return bar;
    };
    const context = { ...silent(stop.signal), bar: show };
    const error = await failure(resolveModel('org/name', { settings }, context));
    expect(error?.name).toBe('AbortError');
    expect(bars).toEqual(['download model.safetensors']);
    expect((await blobs()).some((name) => name.endsWith('.lock'))).toBe(false);
  });
});

describe('what the hub refuses', () => {
  const refusals: [string, { status: number; code?: string }, string][] = [
    ['a model that does not exist', { status: 401, code: 'RepoNotFound' }, 'no-model'],
    ['a model that does not exist, on a plain server', { status: 404 }, 'no-model'],
    ['a gated model', { status: 403, code: 'GatedRepo' }, 'gated-model'],
    ['a gated model without a token', { status: 401, code: 'GatedRepo' }, 'gated-model'],
    ['a revision that does not exist', { status: 404, code: 'RevisionNotFound' }, 'no-revision'],
    ['anything, with a fault of its own', { status: 500 }, 'hub-error'],
  ];
  test.each(refusals)('%s', async (_name, closed, kind) => {
    hub.closed = closed;
    const error = await failure(fetchModel());
    expect(error?.kind).toBe(kind);
    expect(String(error)).toContain('to mend');
  });

  test('a model with only a pickle says how to convert it', async () => {
    hub.files.delete('model.safetensors');
    hub.files.set('pytorch_model.bin', WEIGHTS);
    const error = await failure(fetchModel());
    expect(error?.kind).toBe('pickled-model');
    expect(String(error)).toContain('save_pretrained');
    expect(hub.askedOfStore).toEqual([]);
  });

  test('a model without a tokeniser names the file', async () => {
    hub.files.delete('tokenizer.json');
    expect(String(await failure(fetchModel()))).toContain('vocab.json');
  });
});

describe('without the network', () => {
  test('HF_HUB_OFFLINE uses the cache and asks nothing', async () => {
    const dir = await fetchModel();
    hub.asked.length = 0;
    expect(await fetchModel({ offline: true })).toBe(dir);
    expect(hub.asked).toEqual([]);
  });

  test('HF_HUB_OFFLINE with an empty cache says so', async () => {
    const error = await failure(fetchModel({ offline: true }));
    expect(error?.kind).toBe('offline');
    expect(hub.asked).toEqual([]);
  });

  test('a hub that cannot be reached leaves the cached copy, with a warning', async () => {
    const dir = await fetchModel();
    const warnings: string[] = [];
    const context = { ...silent(), warn: (message: string) => void warnings.push(message) };
    const gone = { ...settings, endpoint: 'http://127.0.0.1:9' };
    expect(await resolveModel('org/name', { settings: gone }, context)).toBe(dir);
    expect(warnings).toHaveLength(1);
  });

  test('a hub that cannot be reached, and no copy, is an error with the address', async () => {
    const error = await failure(fetchModel({ endpoint: 'http://127.0.0.1:9' }));
    expect(error?.kind).toBe('no-network');
    expect(String(error)).toContain('http://127.0.0.1:9/org/name');
  });

  test("a cache that Python made under GPT-2's old name is found", async () => {
    const dir = join(cacheDir, 'models--gpt2', 'snapshots', COMMIT);
    await mkdir(dir, { recursive: true });
    await mkdir(join(cacheDir, 'models--gpt2', 'refs'), { recursive: true });
    await writeFile(join(cacheDir, 'models--gpt2', 'refs', 'main'), COMMIT);
    for (const name of ['config.json', 'tokenizer.json', 'model.safetensors'])
      await writeFile(join(dir, name), '{}');
    expect(await resolveModel('gpt2-small', { settings: { ...settings, offline: true } })).toBe(dir);
  });
});

describe('names', () => {
  test('a folder is taken as it is, and the bundled model is found from anywhere', async () => {
    expect(await resolveModel(cacheDir)).toBe(cacheDir);
    expect(await resolveModel('novels-4l')).toMatch(/checkpoints\/novels-4l$/);
  });

  test('ids, revisions and the short names of TransformerLens', () => {
    expect(parseReference('gpt2')).toEqual({ id: 'openai-community/gpt2', revision: 'main' });
    expect(parseReference('gpt2-small')?.id).toBe('openai-community/gpt2');
    expect(parseReference('org/name@refs/pr/1')).toEqual({ id: 'org/name', revision: 'refs/pr/1' });
    expect(parseReference('one/two/three')).toBeUndefined();
    expect(parseReference('../secrets')).toBeUndefined();
  });

  test.each(['./nothing', '/no/such/folder', 'a/b/c', 'misspelt'])('%s is no model', async (name) => {
    expect((await failure(resolveModel(name, { settings })))?.kind).toBe('no-model');
    expect(hub.asked).toEqual([]);
  });

  test("the environment variables are Python's", () => {
    const env = { HF_ENDPOINT: 'https://mirror.example/', HF_HOME: '/x', HF_TOKEN: 't', HF_HUB_OFFLINE: '1' };
    const { endpoint, cacheDir: dir, token, offline } = hubSettings(env);
    expect({ endpoint, dir, token, offline }).toEqual({
      endpoint: 'https://mirror.example',
      dir: '/x/hub',
      token: 't',
      offline: true,
    });
    expect(hubSettings({ HF_HUB_CACHE: '/y', HF_HOME: '/x' }).cacheDir).toBe('/y');
  });
});
