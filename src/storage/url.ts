/**
 * @file What the place of artifacts is called: a path, or s3://BUCKET/PREFIX?endpoint=…&region=…. Pure text; opens nothing.
 */
import { isAbsolute, join, resolve } from 'node:path';
import { UnfoldError } from '../errors.ts';
import { shownUrl } from '../shown-url.ts';

/** An S3 URL taken apart. */
export interface S3Location {
  bucket: string;
  /** Without slashes at its ends; may be empty. */
  prefix: string;
  /** `http://127.0.0.1:9000`; undefined: what the environment says, else Amazon's. */
  endpoint?: string;
  region?: string;
}

/** True if files have to be copied to be worked on; false for a path. Any `scheme://` counts, even one not known. */
export function isRemote(place: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(place);
}

/**
 * The place `name` within `place`, for both kinds: `s3://b/run?endpoint=…` and `harvest-1a2b3c4d` make
 * `s3://b/run/harvest-1a2b3c4d?endpoint=…`.
 */
export function joinPlace(place: string, name: string): string {
  if (!isRemote(place)) return join(place, name);
  const { bucket, prefix, endpoint, region } = parseS3(place);
  return formatS3({ bucket, prefix: [prefix, name].filter(Boolean).join('/'), endpoint, region });
}

/** The place as it is compared and printed: an absolute path, or the URL in its shortest form. */
export function normalisePlace(place: string): string {
  if (isRemote(place)) return formatS3(parseS3(place));
  return isAbsolute(place) ? resolve(place) : resolve(process.cwd(), place);
}

/** Parts of an s3:// URL. @throws UnfoldError `bad-setting` that says how one is written */
export function parseS3(url: string): S3Location {
  const match = /^s3:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i.exec(url);
  const [, host = '', path = '', query = ''] = match ?? [];
  if (host.includes(':') || (url.includes('@') && (!/^[\w.-]+$/.test(host) || query.includes('@'))))
    throw badUrl(url, 'credentials in the URL, or an @ that is not written %40');
  if (!match) throw badUrl(url, 'a place of another kind');
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i.test(host)) throw badUrl(url, `the bucket “${host}”`);
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (name !== 'endpoint' && name !== 'region') throw badUrl(url, `the parameter “${name}”`);
  }
  const segments = decodeURI(path).split('/').filter(Boolean);
  if (segments.some((segment) => segment === '.' || segment === '..')) throw badUrl(url, 'a path with dots');
  return {
    bucket: host,
    prefix: segments.join('/'),
    endpoint: endpointOf(url, parameters.get('endpoint') ?? undefined),
    region: parameters.get('region') ?? undefined,
  };
}

/** The URL of a location; the inverse of {@link parseS3}. */
export function formatS3({ bucket, prefix, endpoint, region }: S3Location): string {
  const query = Object.entries({ endpoint, region }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value.replaceAll('&', '%26').replaceAll('#', '%23')}`],
  );
  const path = prefix === '' ? '' : `/${encodeURI(prefix).replaceAll('?', '%3F').replaceAll('#', '%23')}`;
  return `s3://${bucket}${path}${query.length ? `?${query.join('&')}` : ''}`;
}

function endpointOf(url: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw badUrl(url, `endpoint=${shownUrl(text)}`);
  const endpoint = new URL(text);
  if (endpoint.username || endpoint.password) throw badUrl(url, 'credentials in the endpoint');
  return endpoint.href.replace(/\/$/, '');
}

function badUrl(url: string, found: string): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: shownUrl(url),
    expected:
      'a path that every machine sees, or s3://BUCKET/PREFIX, with ?endpoint=http://HOST:PORT for a server that is not Amazon’s',
    found,
    todo: 'write the place so; credentials come from the environment (AWS_ACCESS_KEY_ID …) or ~/.aws, never from the URL',
  });
}
