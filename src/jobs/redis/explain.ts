/** @file What Redis or the network answered, as a lesson. */
import { UnfoldError } from '../../errors.ts';
import type { RedisAddress } from './url.ts';

/** Why no connection came about. */
export function explainConnection(address: RedisAddress, error: Error): unknown {
  forgetCommand(error);
  const found = said(error);
  for (const [pattern, kind, expected, todo] of REASONS) {
    if (!pattern.test(`${(error as NodeJS.ErrnoException).code ?? ''} ${found}`)) continue;
    return new UnfoldError(kind, { where: address.shown, expected, found, todo, cause: error });
  }
  return new UnfoldError('no-redis', {
    where: address.shown,
    expected: 'a Redis server that answers',
    found,
    todo: `${TO_REACH}${tlsHint(address, error)}`,
    cause: error,
  });
}

/** A port that speaks TLS hangs up on who does not; one that does not waits for more. */
function tlsHint({ tls, place }: RedisAddress, error: Error): string {
  if (tls) return '; if the port does not speak TLS: redis:// in place of rediss://';
  const hungUp = /closed|ECONNRESET|EPIPE/.test(`${(error as NodeJS.ErrnoException).code} ${error.message}`);
  return hungUp && place.type !== 'unix' ? '; if the port expects TLS: rediss:// in place of redis://' : '';
}

const TO_REACH =
  'start the server or correct the URL; without --queue and UNFOLD_QUEUE, Unfold starts a private server on this machine';

const REASONS: readonly (readonly [RegExp, kind: string, expected: string, todo: string])[] = [
  [
    /WRONGPASS|invalid password|invalid username-password/,
    'bad-queue',
    'a user and password that Redis knows',
    'correct them: redis://user:password@host (an old requirepass: redis://:password@host); @ / ? % are written %40 %2F %3F %25',
  ],
  [/NOAUTH/, 'bad-queue', 'a password', 'add it: redis://:password@host, or redis://user:password@host'],
  [
    /SELF_SIGNED|self-signed|UNABLE_TO_VERIFY|unable to verify|unable to get/,
    'bad-queue',
    'a certificate that an authority known here has signed',
    'name the authority’s file: rediss://host?ca=ca.pem',
  ],
  [
    /ALTNAME|does not match certificate|Hostname\/IP/,
    'bad-queue',
    'a certificate for this host',
    'use the name that stands in it as host, or add ?servername=NAME',
  ],
  [
    /WRONG_VERSION_NUMBER|wrong version number|EPROTO/,
    'bad-queue',
    'a server that speaks TLS on this port',
    'write redis:// for a port without TLS',
  ],
  [
    /invalid DB index|DB index is out of range/,
    'bad-queue',
    'a database that the server has',
    'leave /db out',
  ],
  [
    /cluster support disabled/,
    'bad-queue',
    'a node of a Cluster',
    'it is one server of its own: write redis:// in place of redis+cluster://',
  ],
  [
    /SELECT is not allowed in cluster mode/,
    'bad-queue',
    'no database',
    'it is a node of a Cluster: write redis+cluster://…',
  ],
  [
    /^EACCES/,
    'no-redis',
    'a socket that this user may open',
    'join the group that owns it, or use another URL',
  ],
  [/^ENOENT/, 'no-redis', 'a socket', 'start the server (unixsocket in its redis.conf), or correct the path'],
];

/** ioredis keeps the command that was refused, AUTH with its password, beside the message; Node prints that of a cause. */
export function forgetCommand(error: Error): void {
  delete (error as { command?: unknown }).command;
  const { lastNodeError, cause } = error as { lastNodeError?: unknown; cause?: unknown };
  for (const inner of [lastNodeError, cause]) if (inner instanceof Error) forgetCommand(inner);
  if (error instanceof AggregateError) error.errors.forEach(forgetCommand);
}

/** ioredis wraps the reason into errors of its own, some levels deep. */
function said(error: Error): string {
  const inner = (error as { lastNodeError?: Error }).lastNodeError;
  if (inner) return said(inner);
  if (error instanceof AggregateError && error.errors.length) {
    return error.errors.map((one: Error) => one.message).join('; ');
  }
  return error.message || (error as NodeJS.ErrnoException).code || String(error);
}
