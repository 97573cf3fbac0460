/**
 * @file HTTP as the hub speaks it (huggingface_hub's `get_hf_file_metadata` and `http_get`): what a file is, told by
 * the headers of its first answer, and its bytes, from wherever that answer points. Proxies as the environment names
 * them. The token goes to the endpoint's own host and to no other.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { UnfoldError } from '../../errors.ts';
import { refusal, unreachable } from './errors.ts';
import type { HubReference } from './reference.ts';
import type { HubSettings } from './settings.ts';

/** Milliseconds without a byte after which a connection counts as broken. */
const STALL = 30_000;
const ATTEMPTS = 5;
const REDIRECTS = 10;

let agent: Dispatcher | undefined;
const dispatcher = () => {
  agent ??= new EnvHttpProxyAgent({ connect: { timeout: STALL }, headersTimeout: STALL, bodyTimeout: STALL });
  return agent;
};

/** What the hub says about a file. */
export interface RemoteFile {
  url: string;
  /** The commit that the revision stands for; undefined on a server that does not say (a plain mirror). */
  commit: string | undefined;
  /** Content id: SHA-256 of a large file, git's blob hash of a small one; undefined on a plain mirror. */
  etag: string | undefined;
  bytes: number | undefined;
}

type Headers = Record<string, string | undefined>;
type Method = 'GET' | 'HEAD';

/** A download link of the hub. */
export function fileUrl({ id, revision }: HubReference, file: string, { endpoint }: HubSettings): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/**
 * Asks about a file.
 * @returns undefined when the model has no such file
 * @throws UnfoldError `no-model`, `gated-model`, `no-revision`, `no-network`, `hub-error`
 */
export async function describe(
  reference: HubReference,
  file: string,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<RemoteFile | undefined> {
  const url = fileUrl(reference, file, settings);
  const found: Headers = {};
  const answer = await persist(url, settings, signal, async () => {
    const response = await open('HEAD', url, {}, settings, signal, (headers) => {
      for (const name of ['x-repo-commit', 'x-linked-etag', 'x-linked-size']) found[name] ??= headers[name];
    });
    await response.body.dump();
    return response;
  });
  const headers = flat(answer.headers);
  if (answer.statusCode >= 400) {
    const error = refusal(answer.statusCode, headers, file, reference, settings);
    if (error) throw error;
    return undefined;
  }
  const etag = (found['x-linked-etag'] ?? headers.etag)?.replace(/^W\//, '').replaceAll('"', '');
  const size = found['x-linked-size'] ?? headers['content-length'];
  const bytes = size === undefined ? undefined : Number(size);
  return { url, commit: found['x-repo-commit'] ?? headers['x-repo-commit'], etag, bytes };
}

/** Starts to read a file at byte `from`. Statuses and broken connections are the caller's to judge. */
export async function openBody(
  url: string,
  from: number,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  return open('GET', url, from > 0 ? { range: `bytes=${from}-` } : {}, settings, signal);
}

/** One request; redirects are followed, each of their headers is shown to `passed`. */
async function open(
  method: Method,
  url: string,
  headers: Record<string, string>,
  settings: HubSettings,
  signal: AbortSignal,
  passed: (headers: Headers) => void = () => {},
): Promise<Dispatcher.ResponseData> {
  let address = new URL(url);
  for (let hop = 0; hop <= REDIRECTS; hop++) {
    const response = await request(address, {
      method,
      dispatcher: dispatcher(),
      signal,
      // Without this, Content-Length may be that of a gzip stream.
      headers: {
        'accept-encoding': 'identity',
        'user-agent': 'unfold-sae',
        ...headers,
        ...credentials(address, settings),
      },
    });
    const location = flat(response.headers).location;
    if (response.statusCode < 300 || response.statusCode >= 400 || location === undefined) return response;
    passed(flat(response.headers));
    const next = new URL(location, address);
    // The hub's own answer says all of a large file; the store behind it need not be asked (and may refuse HEAD).
    if (method === 'HEAD' && flat(response.headers)['x-linked-size'] !== undefined)
      return Object.assign(response, { statusCode: 200 });
    await response.body.dump();
    address = next;
  }
  throw new UnfoldError('hub-error', {
    where: url,
    expected: `an answer after at most ${REDIRECTS} redirects`,
    found: 'more',
    todo: 'check HF_ENDPOINT',
  });
}

function credentials(address: URL, { endpoint, token, basic }: HubSettings): Record<string, string> {
  const authorization = token === undefined ? basic : `Bearer ${token}`;
  return authorization !== undefined && address.origin === new URL(endpoint).origin ? { authorization } : {};
}

/** Header names in lower case, one value each. */
export function flat(headers: Dispatcher.ResponseData['headers']): Headers {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  );
}

/** True for an answer that another attempt may better. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** Repeats a request over broken connections and passing refusals, with growing pauses. */
async function persist(
  url: string,
  settings: HubSettings,
  signal: AbortSignal,
  ask: () => Promise<Dispatcher.ResponseData>,
): Promise<Dispatcher.ResponseData> {
  for (let attempt = 0; ; attempt++) {
    const last = attempt + 1 >= ATTEMPTS;
    let after: string | undefined;
    try {
      const response = await ask();
      if (!isPassing(response.statusCode) || last) return response;
      after = flat(response.headers)['retry-after'];
    } catch (error) {
      if (signal.aborted || error instanceof UnfoldError) throw error;
      if (last) throw unreachable(url, 0, error);
    }
    await pause(attempt, after, settings, signal);
  }
}

/** Waits before attempt `attempt` + 1; the server may say how long, within reason. */
export async function pause(
  attempt: number,
  retryAfter: string | undefined,
  settings: HubSettings,
  signal: AbortSignal,
) {
  const asked = Number(retryAfter) * 1000;
  const wait = Number.isFinite(asked) ? Math.min(asked, 60_000) : settings.retryDelay * 2 ** attempt;
  await sleep(wait, undefined, { signal });
}
