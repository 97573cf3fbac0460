/** @file A queue's URL: every form, and no password in any message. */
import { expect, test } from 'vitest';
import { UnfoldError } from '../../../src/errors.ts';
import { parseRedisUrl } from '../../../src/jobs/redis/url.ts';

const lesson = (url: string) => {
  try {
    parseRedisUrl(url, '--queue');
  } catch (error) {
    if (error instanceof UnfoldError) return error;
    throw error;
  }
  throw new Error(`${url} was taken`);
};

test('a host, with user, password and database', () => {
  expect(parseRedisUrl('redis://gpu1')).toEqual({
    place: { type: 'tcp', at: { host: 'gpu1', port: 6379 } },
    db: 0,
    shown: 'redis://gpu1',
  });
  expect(parseRedisUrl('redis://ann:s%20c%2Fret@gpu1:7000/3')).toEqual({
    place: { type: 'tcp', at: { host: 'gpu1', port: 7000 } },
    username: 'ann',
    password: 's c/ret',
    db: 3,
    shown: 'redis://ann:***@gpu1:7000/3',
  });
  expect(parseRedisUrl('redis://:p@ss:word@gpu1')).toMatchObject({ password: 'p@ss:word', db: 0 });
  expect(parseRedisUrl('redis://')).toMatchObject({ place: { at: { host: '127.0.0.1', port: 6379 } } });
  expect(parseRedisUrl('REDIS://[::1]:6380?db=2')).toMatchObject({
    place: { at: { host: '::1', port: 6380 } },
    db: 2,
  });
});

test('TLS, with files of certificates', () => {
  expect(parseRedisUrl('rediss://gpu1')).toMatchObject({ tls: {} });
  const { tls } = parseRedisUrl('rediss://gpu1?ca=/etc/ca.pem&cert=me.pem&key=me.key&servername=redis.lab');
  expect(tls).toEqual({ ca: '/etc/ca.pem', cert: 'me.pem', key: 'me.key', servername: 'redis.lab' });
  expect(lesson('redis://gpu1?ca=/etc/ca.pem').lesson.todo).toContain('rediss://');
});

test('a Unix socket, with and without a password', () => {
  expect(parseRedisUrl('redis+unix:///run/my%20redis.sock?db=1')).toEqual({
    place: { type: 'unix', path: '/run/my redis.sock' },
    db: 1,
    shown: 'redis+unix:///run/my%20redis.sock?db=1',
  });
  expect(parseRedisUrl('unix://ann:x@/run/redis.sock')).toMatchObject({ username: 'ann', password: 'x' });
  expect(lesson('redis+unix://run/redis.sock').lesson.todo).toContain('three slashes');
});

test('Sentinels and the name of their master; a Cluster has one database', () => {
  expect(
    parseRedisUrl('rediss+sentinel://ann:x@s1,s2:26380/mymaster/2?sentinel-password=y&ca=ca.pem'),
  ).toEqual({
    place: {
      type: 'sentinel',
      sentinels: [
        { host: 's1', port: 26379 },
        { host: 's2', port: 26380 },
      ],
      master: 'mymaster',
      password: 'y',
    },
    username: 'ann',
    password: 'x',
    db: 2,
    tls: { ca: 'ca.pem' },
    shown: 'rediss+sentinel://ann:***@s1,s2:26380/mymaster/2?sentinel-password=***&ca=ca.pem',
  });
  expect(parseRedisUrl('redis+cluster://n1:7000,n2:7001').place).toEqual({
    type: 'cluster',
    nodes: [
      { host: 'n1', port: 7000 },
      { host: 'n2', port: 7001 },
    ],
  });
  expect(lesson('redis+sentinel://s1').lesson.expected).toContain('name of the master');
  expect(lesson('redis+cluster://n1/1').lesson.expected).toContain('has only 0');
  expect(lesson('redis://n1,n2').lesson.todo).toContain('redis+cluster://');
});

test('what is wrong is told with what to write instead', () => {
  expect(lesson('gpu1:6379').lesson.todo).toBe('write redis://gpu1:6379');
  expect(lesson('redis+unx:///x').lesson.todo).toContain('redis+unix://');
  expect(lesson('http://gpu1').lesson.found).toBe('http://');
  expect(lesson('redis://gpu1/x').lesson.expected).toContain('number of a database');
  expect(lesson('redis://gpu1:0').lesson.expected).toBe('host or host:port');
  expect(lesson('redis://gpu1?timeout=3').lesson.found).toBe('?timeout=');
  expect(lesson('redis://ann@gpu1').lesson.todo).toContain('redis://:PASSWORD@host');
  expect(lesson('redis://ann:100%@gpu1').lesson.todo).toContain('%25');
  expect(lesson('').lesson.expected).toContain('redis+unix:///');
});

test('no message and no shown URL holds the password, however the URL is broken', () => {
  const hunter = [
    'redis://:hunter2',
    'redis://ann:hunter2',
    'redis://ann:hunter2/x@gpu1',
    'redis://ann:hunt%er2@gpu1',
    'redis://hunter2@gpu1',
    'ann:hunter2@gpu1',
    'http://ann:hunter2@gpu1',
    'redis://ann:hunter2@gpu1:port',
    'redis://gpu1?password=hunter2',
    'redis+sentinel://s1?sentinel-password=hunter2',
    'redis+cluster://:hunter2@n1/4',
    'redis+unix://:hunter2@',
  ];
  for (const url of hunter) expect(lesson(url).message, url).not.toMatch(/hunt.?er2/);
  expect(parseRedisUrl('redis://ann:hunter2@gpu1').shown).not.toContain('hunter2');
});
