/**
 * @file Where a queue's Redis is, as a URL: one server over TCP, TLS or a Unix socket, a group watched by Sentinels, or a
 * Cluster. Read by hand and not with WHATWG's URL, which knows no list of hosts. Whatever is wrong with one, its password
 * is never part of the message: no piece of the text is repeated that could be one (shown-url.ts).
 */
import { nearest, UnfoldError } from '../../errors.ts';
import { holdsCredentials } from '../../shown-url.ts';

/** A server's place on the network. */
export interface HostPort {
  host: string;
  port: number;
}

/** Files for TLS. */
export interface TlsFiles {
  /** Authority that signed the server's certificate, PEM. */
  ca?: string;
  /** Our own certificate and key, where the server asks for them. */
  cert?: string;
  key?: string;
  /** Name in the server's certificate if it is not the host's. */
  servername?: string;
}

/** Where to connect and as whom. */
export interface RedisAddress {
  place:
    | { type: 'tcp'; at: HostPort }
    | { type: 'unix'; path: string }
    | {
        type: 'sentinel';
        sentinels: HostPort[];
        master: string;
        username?: string;
        password?: string;
      }
    | { type: 'cluster'; nodes: HostPort[] };
  username?: string;
  password?: string;
  db: number;
  /** Present if the connection is to be encrypted. */
  tls?: TlsFiles;
  /** The URL without its passwords, for people. */
  shown: string;
}

/** Forms of the URL, for help and messages. */
export const URL_FORMS = [
  'redis://[user:password@]host[:6379][/db]',
  'rediss://host[:6379][/db][?ca=FILE]',
  'redis+unix:///path/redis.sock[?db=1]',
  'redis+sentinel://[user:password@]host[:26379],…/MASTER[/db]',
  'redis+cluster://[user:password@]host[:6379],…',
] as const;

const PLACES: Record<string, { type: RedisAddress['place']['type']; tls: boolean }> = {
  redis: { type: 'tcp', tls: false },
  rediss: { type: 'tcp', tls: true },
  'redis+unix': { type: 'unix', tls: false },
  unix: { type: 'unix', tls: false },
  'redis+sentinel': { type: 'sentinel', tls: false },
  'rediss+sentinel': { type: 'sentinel', tls: true },
  'redis+cluster': { type: 'cluster', tls: false },
  'rediss+cluster': { type: 'cluster', tls: true },
};

const TLS_PARAMETERS = ['ca', 'cert', 'key', 'servername'] as const;
const SENTINEL_PARAMETERS = ['sentinel-username', 'sentinel-password'] as const;

interface Parts {
  scheme: string;
  user: string | undefined;
  hosts: string;
  path: string;
  query: Map<string, string>;
}

/**
 * Reads a queue's URL.
 * @throws UnfoldError `bad-queue` that says which part is wrong and shows no password
 */
export function parseRedisUrl(url: string, where = 'the queue’s URL'): RedisAddress {
  const parts = split(url, where);
  const { type, tls } = PLACES[parts.scheme]!;
  const credentials = userOf(parts.user, where);
  checkQuery(parts.query, type, tls, where, holdsCredentials(url));
  const place = placeOf(type, parts, where);
  const db = dbOf(type, parts, where);
  const address: RedisAddress = { place, ...credentials, db, shown: shownAddress(parts, credentials) };
  if (tls) address.tls = tlsOf(parts.query);
  return address;
}

function split(url: string, where: string): Parts {
  const scheme = /^([a-z+]+):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined || !(scheme in PLACES)) throw badScheme(url, scheme, where);
  const rest = /^(?:([^/?]*)@)?([^/?@]*)(\/[^?@]*)?(?:\?([^@]*))?$/s.exec(url.slice(scheme.length + 3));
  // An @ behind the first / or ?: where the password ends, if it does not belong to a path, nobody knows.
  if (rest === null) {
    const todo =
      'in a password or a path, @ / ? % are written %40 %2F %3F %25: redis://user:password@host, redis+unix:///path';
    throw badQueue(where, 'a host behind the user and password', `an @ behind a / or ? (${NOT_SHOWN})`, todo);
  }
  const query = new Map<string, string>();
  for (const pair of (rest[4] ?? '').split('&').filter(Boolean)) {
    const at = pair.indexOf('=');
    const [name, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    query.set(name, decode(value, where));
  }
  return { scheme, user: rest[1], hosts: rest[2] ?? '', path: rest[3] ?? '', query };
}

const NOT_SHOWN = 'not shown: it may hold a password';

function badScheme(url: string, scheme: string | undefined, where: string): UnfoldError {
  const bare = scheme === undefined && /^[\w.-]+(:\d{1,5})?$/.test(url);
  const harmless = bare || /^[\w .-]*$/.test(url);
  const unnamed = harmless ? url || 'nothing' : 'no redis:// at its start';
  const found = scheme === undefined ? unnamed : `${scheme}://`;
  return badQueue(
    where,
    `one of ${URL_FORMS.join('  ')}`,
    found,
    bare
      ? `write redis://${url}`
      : scheme
        ? `perhaps ${nearest(scheme, Object.keys(PLACES), 1)[0]}://…`
        : undefined,
  );
}

function badQueue(where: string, expected: string, found: string, todo?: string): UnfoldError {
  return new UnfoldError('bad-queue', {
    where,
    expected,
    found,
    todo:
      todo ??
      'write it as one of the forms in unfold queue --help; characters such as @ / ? % in a password are written %40 %2F %3F %25',
  });
}

function decode(text: string, where: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badQueue(
      where,
      'percent signs that begin a code such as %40',
      'one that does not',
      'write % itself as %25',
    );
  }
}

function userOf(user: string | undefined, where: string): { username?: string; password?: string } {
  if (user === undefined || user === '') return {};
  const at = user.indexOf(':');
  const username = decode(at < 0 ? user : user.slice(0, at), where);
  if (at < 0) {
    const todo = 'a password alone is written redis://:PASSWORD@host';
    throw badQueue(where, 'user:password@ or :password@', 'a user without a password', todo);
  }
  const password = decode(user.slice(at + 1), where);
  return { ...(username ? { username } : {}), ...(password ? { password } : {}) };
}

function checkQuery(
  query: Map<string, string>,
  type: string,
  tls: boolean,
  where: string,
  secret: boolean,
): void {
  const known = [
    ...(type === 'cluster' ? [] : ['db']),
    ...(tls ? TLS_PARAMETERS : []),
    ...(type === 'sentinel' ? SENTINEL_PARAMETERS : []),
  ];
  for (const name of query.keys()) {
    if (known.includes(name)) continue;
    const forTls = (TLS_PARAMETERS as readonly string[]).includes(name);
    throw badQueue(
      where,
      known.length ? `of parameters ${known.map((text) => `?${text}=`).join(', ')}` : 'no parameters',
      secret ? `another parameter (${NOT_SHOWN})` : `?${name}=`,
      forTls ? 'files of certificates need TLS: rediss://…' : undefined,
    );
  }
}

function placeOf(type: string, parts: Parts, where: string): RedisAddress['place'] {
  if (type === 'unix') return { type: 'unix', path: socketPath(parts, where) };
  if (type === 'cluster') return { type: 'cluster', nodes: hostsOf(parts.hosts, 6379, where) };
  if (type === 'sentinel') {
    const master = decode(parts.path.split('/')[1] ?? '', where);
    if (master === '') {
      const todo = 'name the group that the Sentinels watch: redis+sentinel://host:26379/mymaster';
      throw badQueue(where, 'the name of the master behind the Sentinels', 'none', todo);
    }
    const [username, password] = SENTINEL_PARAMETERS.map((name) => parts.query.get(name));
    return {
      type: 'sentinel',
      sentinels: hostsOf(parts.hosts, 26379, where),
      master,
      ...(username ? { username } : {}),
      ...(password ? { password } : {}),
    };
  }
  const hosts = hostsOf(parts.hosts, 6379, where);
  if (hosts.length > 1) {
    throw badQueue(where, 'one host', `${hosts.length}`, 'several are redis+sentinel:// or redis+cluster://');
  }
  return { type: 'tcp', at: hosts[0]! };
}

function socketPath({ hosts, path }: Parts, where: string): string {
  if (hosts === '' && path.length > 1) return decode(path, where);
  const todo = `three slashes: redis+unix:///run/redis/redis.sock`;
  throw badQueue(where, 'the absolute path of a socket', hosts ? 'a host' : 'no path', todo);
}

function hostsOf(text: string, port: number, where: string): HostPort[] {
  return (text || '127.0.0.1').split(',').map((host) => {
    const match = /^(\[[0-9a-f:.%]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/i.exec(host);
    const number = Number(match?.[2] ?? port);
    if (match && number > 0 && number < 65536) {
      return { host: match[1]!.replace(/^\[|\]$/g, ''), port: number };
    }
    const todo = 'ports go from 1 to 65535; a password is followed by @host';
    throw badQueue(where, 'host or host:port', `something else (${NOT_SHOWN})`, todo);
  });
}

function dbOf(type: string, { path, query }: Parts, where: string): number {
  const segments = type === 'unix' ? [] : path.split('/').slice(type === 'sentinel' ? 2 : 1);
  const text = query.get('db') ?? (segments.join('/') || '0');
  if (/^\d{1,5}$/.test(text) && (type !== 'cluster' || text === '0')) return Number(text);
  const expected =
    type === 'cluster' ? 'no database: a Cluster has only 0' : 'a number of a database, as in /1';
  throw badQueue(where, expected, `something else (${NOT_SHOWN})`, 'leave it out for database 0');
}

function tlsOf(query: Map<string, string>): TlsFiles {
  return Object.fromEntries(
    TLS_PARAMETERS.flatMap((name) => {
      const value = query.get(name);
      return value ? [[name, value]] : [];
    }),
  );
}

function shownAddress(
  { scheme, hosts, path, query }: Parts,
  user: { username?: string; password?: string },
): string {
  const name = user.username ? encodeURIComponent(user.username) : '';
  const who = name || user.password ? `${name}${user.password ? ':***' : ''}@` : '';
  const parameters = [...query].map(([key, value]) => `${key}=${key.endsWith('password') ? '***' : value}`);
  return `${scheme}://${who}${hosts}${path}${parameters.length ? `?${parameters.join('&')}` : ''}`;
}
