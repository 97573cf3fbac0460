/**
 * @file What of a URL may be shown. Where the user and password of a URL end is known only once all of it has been looked
 * at: a password that was not percent-encoded may hold `/`, `?`, `#`, `@` and spaces, and then a piece of it passes for host,
 * path or parameter. So everything up to the last `@` is taken for the credentials, and of a query that holds one nothing
 * is shown. Every message goes through {@link shownText} (errors.ts, cli/terminal.ts, the logs of jobs).
 */

/** A name of a bucket: what S3 has where others have user, password and host. */
const BUCKET = /^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i;

/** Parameters whose values are secrets. */
const SECRET = /pass|secret|token|signature|credential|auth|api[-_]?key|^sig$/i;

/** What stands for a password in an example, or did already in a text that was cleaned before. */
const PLACEHOLDER = /^\[?(\w*:)?(password|\*+)$/i;

const HIDDEN = 'something that is not shown: it may hold a password';

/** A URL, right or wrong, without its credentials. What is neither a URL nor free of any doubt is not shown. */
export function shownUrl(text: string): string {
  const match = /^\s*([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i.exec(text);
  if (!match) return holdsCredentials(text) ? HIDDEN : text;
  const [, scheme, authority = ''] = match;
  // A password whose @host was forgotten.
  if (!text.includes('@') && !isHosts(authority)) return `${scheme}://…`;
  return withoutCredentials(text);
}

/** Free text, as libraries and programs write it: each URL in it without its credentials. */
export function shownText(text: string): string {
  if (!text.includes('://')) return text;
  return text.replace(/[a-z][a-z0-9+.-]*:\/\/\S+/gi, withoutCredentials);
}

/** True unless it is certain that no piece of the text is part of a password. */
export function holdsCredentials(text: string): boolean {
  const [, authority = '', rest = ''] = /^\s*(?:[a-z][a-z0-9+.-]*:\/\/)?([^/?#]*)(.*)$/is.exec(text) ?? [];
  return !isHosts(authority) || /[@\s]/.test(text) || SECRET.test(rest) || authority.includes('=');
}

/** Hosts with their ports, if any. */
function isHosts(authority: string): boolean {
  return !/:(?!\d{1,5}(?:,|$))/.test(authority.replace(/\[[0-9a-f:.%]+\]/gi, ''));
}

function withoutCredentials(text: string): string {
  const [, name = '', rest = ''] = /^\s*([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(text) ?? [];
  const scheme = name.toLowerCase();
  const end = endOfCredentials(scheme, rest);
  const who = end < 0 ? '' : `${shownUser(scheme, rest.slice(0, end))}@`;
  const query = rest.indexOf('?', end + 1);
  if (query < 0) return `${name}://${who}${rest.slice(end + 1)}`;
  return `${name}://${who}${rest.slice(end + 1, query)}?${shownQuery(rest.slice(query + 1))}`;
}

/** Index of the `@` behind the credentials, -1 if there are none. */
function endOfCredentials(scheme: string, rest: string): number {
  const authority = rest.slice(0, rest.search(/[/?#]|$/));
  // Paths of files and of buckets may hold any character; of others an @ is rare enough.
  const isPath = authority === '' ? !rest.includes('?') : scheme === 's3' && BUCKET.test(authority);
  return isPath ? -1 : rest.lastIndexOf('@');
}

/** Redis has users that are worth telling; elsewhere, what stands in a user's place is often a token. */
function shownUser(scheme: string, credentials: string): string {
  if (PLACEHOLDER.test(credentials)) return credentials;
  const user = /^([\w.%-]{1,60}):/.exec(credentials)?.[1];
  if (!/^(rediss?|unix)/.test(scheme)) return '***';
  return credentials.startsWith(':') ? ':***' : user === undefined ? '***' : `${user}:***`;
}

function shownQuery(query: string): string {
  if (query.includes('@')) return '…';
  const shown = (pair: string) => {
    const at = pair.indexOf('=');
    return at >= 0 && SECRET.test(pair.slice(0, at)) ? `${pair.slice(0, at)}=***` : pair;
  };
  return query.split('&').map(shown).join('&');
}
