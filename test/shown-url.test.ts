/** @file No piece of a password in anything that is said of a URL, wherever the password stands and whatever is in it. */
import { expect, test } from 'vitest';
import { UnfoldError } from '../src/errors.ts';
import { parseRedisUrl } from '../src/jobs/redis/url.ts';
import { hubSettings } from '../src/model/hub/settings.ts';
import { Random } from '../src/random.ts';
import { shownText, shownUrl } from '../src/shown-url.ts';
import { isRemote, normalisePlace } from '../src/storage/url.ts';
import { findWheel } from '../src/tensor/install/wheel-index.ts';

const LETTERS = 'QXZJVWKYqxzjvwky';
const MARKS = [
  '?',
  '/',
  '#',
  '@',
  '[',
  ']',
  '%',
  ' ',
  ':',
  '=',
  '&',
  '+',
  ',',
  'é',
  '漢',
  '\\',
  '"',
  '%40',
  '://',
  '12/',
];

/** Letters that stand in no message of ours, marks between them. */
function passwords(count: number): string[] {
  const random = Random.of(7, 'passwords');
  const pick = <T>(from: ArrayLike<T>) => from[random.below(from.length)]!;
  const word = () => Array.from({ length: 4 + random.below(4) }, () => pick(LETTERS)).join('');
  return Array.from({ length: count }, () => [word(), pick(MARKS), word(), pick(MARKS), word()].join(''));
}

/** Pieces of four letters. */
function pieces(password: string): string[] {
  return (password.match(/[A-Za-z]{4,}/g) ?? []).flatMap((word) =>
    Array.from({ length: word.length - 3 }, (_, at) => word.slice(at, at + 4)),
  );
}

function said(run: () => unknown): string {
  try {
    return JSON.stringify(run(), (key, value) => (/^(password|basic)$/.test(key) ? undefined : value)) ?? '';
  } catch (error) {
    expect(error).toBeInstanceOf(UnfoldError);
    return `${(error as Error).message}${JSON.stringify((error as UnfoldError).lesson)}`;
  }
}

const urls = (password: string) => [
  `redis://:${password}@host`,
  `redis://ann:${password}@host:6379/1`,
  `rediss://ann:${password}@host?ca=ca.pem`,
  // What stands before a colon is a user's name.
  `redis://${password.replaceAll(':', '')}@host`,
  `redis+sentinel://ann:${password}@a,b:26379/mymaster`,
  `redis+sentinel://a:26379,b/mymaster?sentinel-username=x&sentinel-password=${password}@x`,
  `redis+cluster://:${password}@n1:7000,n2`,
  `redis+unix://ann:${password}@/run/redis.sock`,
  `ann:${password}@host`,
  `reddis://ann:${password}@host`,
  `host:6380,password=${password},ssl=True`,
  `s3://KEY:${password}@bucket/prefix`,
  `s3://bucket/prefix?endpoint=http://ann:${password}@host:9000`,
  `https://${password}@host/simple`,
  `https://ann:${password}@host/simple?x=1`,
  `http://ann:${password}@proxy:3128`,
];

test('no four letters of a password, in URLs of every kind, for 200 passwords', () => {
  for (const password of passwords(200)) {
    for (const url of urls(password)) {
      const texts = [
        said(() => shownUrl(url)),
        said(() => parseRedisUrl(url, '--queue').shown),
        said(() => (isRemote(url) ? normalisePlace(url) : '')),
        said(() => hubSettings({ HF_ENDPOINT: url, HF_TOKEN_PATH: '/nowhere' })),
      ].filter((text) => !text.includes('"place"'));
      for (const piece of pieces(password))
        for (const text of texts) expect(text.includes(piece), `${url} → ${text}`).toBe(false);
    }
  }
});

test('what libraries and programs write is cleaned, too, and examples stay as they are', () => {
  for (const password of passwords(100).filter((text) => !/\s/.test(text))) {
    const line = `failed (https://ann:${password}@host/a b), see redis://:${password}@h, then x@y`;
    const { message } = new UnfoldError('bad', { where: line, expected: line, found: line, todo: line });
    for (const piece of pieces(password))
      for (const text of [message, shownText(line)]) expect(text.includes(piece), text).toBe(false);
  }
  const examples =
    'redis://[user:password@]host[:6379], redis://:PASSWORD@host, s3://bucket/a@b, http://HOST:PORT';
  expect(shownText(examples)).toBe(examples);
  expect(shownText('https://h/x?token=abcd&n=1 and http://127.0.0.1:9: no')).toBe(
    'https://h/x?token=***&n=1 and http://127.0.0.1:9: no',
  );
});

test('an index of packages with a token that cannot be read names itself without it', async () => {
  for (const password of ['Qxzj/vwky', 'Qxzj?Vwky', 'Qxzj Vwky', 'Qxzj%Vwky', 'Qxzj[Vwky']) {
    const text = await findWheel(`http://ann:${password}@127.0.0.1:9/simple`, 'p', 'f').then(String, String);
    expect(text).not.toMatch(/Qxzj|vwky/i);
    expect(text).toContain('127.0.0.1');
  }
});
