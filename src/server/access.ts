/**
 * @file Who may ask for what. The queue can start and stop hours of work, so a page somewhere else in the same browser must
 * neither read it (DNS rebinding: a foreign name that resolves to this machine) nor change it (cross-site requests).
 *
 * Without a token the server is for this machine only: a Host header that is a name other than localhost is refused. With a
 * token any name is as good, for the token is what counts. Whatever changes something must come from our own pages, or from
 * a program that is no browser. Passwords and accounts are a reverse proxy's business.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { Context, MiddlewareHandler } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { html } from './html.ts';

/** See the fields. */
export interface AccessOptions {
  /** Asked of everyone; undefined: whoever is on this machine may come in. */
  token?: string;
  /** Names besides localhost by which the server may be called. */
  names?: readonly string[];
  readOnly?: boolean;
}

/** For load balancers and supervisors, which hold no token, and for the page that asks for it: nothing about the work. */
const OPEN = new Set(['/health', '/ready', '/assets/page.css', '/assets/page.js']);
const READING = new Set(['GET', 'HEAD', 'OPTIONS']);
const COOKIE = 'unfold_serve';

/** Lets through, or answers 401 (no token), 403 (foreign host or page, or read-only). */
export function access(options: AccessOptions): MiddlewareHandler {
  const names = new Set(['localhost', ...(options.names ?? [])].map((name) => name.toLowerCase()));
  return async (c, next) => {
    const refusal =
      (options.token === undefined ? foreignHost(c, names) : undefined) ??
      (READING.has(c.req.method) ? undefined : (foreignPage(c) ?? writing(options)));
    if (refusal !== undefined) return refuse(c, 403, refusal);
    if (options.token === undefined || OPEN.has(c.req.path)) return next();
    return admit(c, options.token, next);
  };
}

/** True if the request was let in with a token, or needs none. */
export function trusted(c: Context, token: string | undefined): boolean {
  return token === undefined || carriesToken(c, token);
}

function writing({ readOnly }: AccessOptions): string | undefined {
  return readOnly ? 'this server was started with --read-only' : undefined;
}

function foreignHost(c: Context, names: ReadonlySet<string>): string | undefined {
  const host = hostName(c.req.header('host') ?? '');
  // A bare address cannot be rebound: only names can.
  if (host === '' || names.has(host) || host.endsWith('.localhost') || isIP(host) !== 0) return undefined;
  return `this server is not called ${host}; ask for localhost, or start it with --token to use any name`;
}

/** Browsers say where a request that changes something comes from; programs say nothing. */
function foreignPage(c: Context): string | undefined {
  const site = c.req.header('sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return 'a page of another site asked';
  const origin = c.req.header('origin');
  if (origin === undefined) return undefined;
  return URL.canParse(origin) && new URL(origin).host === hostOf(c)
    ? undefined
    : 'a page of another site asked';
}

/** The Host header as URL writes it (port 80 left out). */
function hostOf(c: Context): string {
  const host = c.req.header('host') ?? '';
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).host : '';
}

/** Name or address without port and brackets, in lower case. */
function hostName(host: string): string {
  if (!URL.canParse(`http://${host}`)) return host.toLowerCase();
  return new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

async function admit(c: Context, token: string, next: () => Promise<void>): Promise<Response | undefined> {
  const given = c.req.query('token');
  if (given !== undefined && READING.has(c.req.method) && same(given, token)) {
    setCookie(c, COOKIE, digest(token), { httpOnly: true, sameSite: 'Lax', path: '/' });
    return c.redirect(withoutToken(c.req.url), 303);
  }
  if (!carriesToken(c, token)) return refuse(c, 401, 'a token is needed');
  await next();
  return undefined;
}

function carriesToken(c: Context, token: string): boolean {
  const bearer = /^Bearer\s+(.+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  if (bearer !== undefined) return same(bearer.trim(), token);
  return same(getCookie(c, COOKIE) ?? '', digest(token));
}

/** The address without the token, so that it is neither kept in the history nor passed on. */
function withoutToken(address: string): string {
  const url = new URL(address);
  url.searchParams.delete('token');
  return url.pathname.replace(/^\/{2,}/, '/') + url.search;
}

/** The cookie holds this instead of the token: cookies are sent to every port of a host. */
function digest(token: string): string {
  return createHash('sha256').update(`unfold serve\n${token}`).digest('hex');
}

/** Equality in a time that does not tell how much was right. */
function same(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

function refuse(c: Context, status: 401 | 403, reason: string): Response {
  if (status === 401) c.header('WWW-Authenticate', 'Bearer realm="unfold serve"');
  if (!(c.req.header('accept') ?? '').includes('text/html')) return c.json({ error: reason }, status);
  const page = status === 401 ? signIn() : html`<p>Refused: ${reason}.</p>`;
  return c.html(
    html`<!doctype html><html lang="en"><meta charset="utf-8"><title>Unfold</title><link rel="stylesheet" href="/assets/page.css"><main>${page}</main></html>`
      .text,
    status,
  );
}

function signIn() {
  return html`<h1>Unfold</h1><form method="get" action="/">
<label>Token, as <code>unfold serve</code> printed it <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Open</button></form>`;
}
