/** @file Installing backends: the download, the index, the wheel, the folder, each against a server or files of ours. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silent } from '../../src/context.ts';
import { exists } from '../../src/files.ts';
import { unpackWheel } from '../../src/tensor/install/addon.ts';
import { download } from '../../src/tensor/install/download.ts';
import { fillFolder } from '../../src/tensor/install/own-folder.ts';
import { findWheel } from '../../src/tensor/install/wheel-index.ts';
import { obtainWheel, type Wheel } from '../../src/tensor/install/wheels.ts';
import { send, serve, type TestServer } from './support/http-server.ts';
import { zip } from './support/zip.ts';

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const content = randomBytes(300_000);

let folder: string;
let server: TestServer | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'unfold-install-'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  await rm(folder, { recursive: true });
  vi.unstubAllEnvs();
});

const kind = (expected: string) => expect.objectContaining({ kind: expected });
const wanted = (hash = sha256(content)) => ({
  url: `${server!.url}/f.whl`,
  path: join(folder, 'f.whl'),
  sha256: hash,
  label: 'f',
});

describe('download', () => {
  test('a connection that breaks is taken up at the byte where it broke', async () => {
    server = await serve((request, response) => {
      send(request, response, content, server!.requests.length === 1 ? 100_000 : undefined);
    });
    await download(wanted(), silent());
    expect((await readFile(join(folder, 'f.whl'))).equals(content)).toBe(true);
    expect(server.requests.length).toBe(2);
    expect(server.requests[1]!.range).toMatch(/^bytes=[1-9]\d*-$/); // Where exactly is the network's doing.
  });

  test('a run that was stopped is taken up by the next one', async () => {
    server = await serve((request, response) => send(request, response, content));
    await writeFile(join(folder, 'f.whl.part'), content.subarray(0, 250_000));
    await download(wanted(), silent());
    expect((await readFile(join(folder, 'f.whl'))).equals(content)).toBe(true);
    expect(server.requests[0]!.range).toBe('bytes=250000-');
  });

  test('a server that knows no ranges sends everything again', async () => {
    server = await serve((_request, response) => response.end(content));
    await writeFile(join(folder, 'f.whl.part'), Buffer.alloc(1000));
    await download(wanted(), silent());
    expect((await readFile(join(folder, 'f.whl'))).equals(content)).toBe(true);
  });

  test('bytes with another checksum are refused and thrown away', async () => {
    server = await serve((request, response) => send(request, response, content));
    await expect(download(wanted('0'.repeat(64)), silent())).rejects.toEqual(kind('bad-checksum'));
    expect(await readdir(folder)).toEqual([]);
  });

  test('a missing file is said at once, with the bytes so far kept', async () => {
    server = await serve((_request, response) => response.writeHead(404).end());
    await writeFile(join(folder, 'f.whl.part'), content.subarray(0, 10));
    await expect(download(wanted(), silent())).rejects.toThrow(/HTTP 404 \(10 bytes so far are kept\)/);
    expect(await readdir(folder)).toEqual(['f.whl.part']);
  });

  test('a finished file is not fetched again', async () => {
    server = await serve((request, response) => send(request, response, content));
    await download(wanted(), silent());
    await download(wanted(), silent());
    expect(server.requests.length).toBe(1);
  });

  test('the proxy of the environment is used', async () => {
    server = await serve((_request, response) => response.writeHead(500).end());
    vi.stubEnv('http_proxy', server.url);
    vi.stubEnv('no_proxy', '');
    vi.resetModules();
    const fresh = await import('../../src/tensor/install/http.ts');
    const tunnels: string[] = [];
    const connected = new Promise<void>((resolve) => {
      server!.onConnect((target) => {
        tunnels.push(target);
        resolve();
      });
    });
    await expect(fresh.get('http://unfold.invalid:81/x')).rejects.toThrow();
    await connected;
    expect(tunnels).toEqual(['unfold.invalid:81']);
  });
});

const wheelFile = 'fake-1.0-py3-none-any.whl';
const members = {
  'tensorflow/libtensorflow_cc.so.2': 'cc',
  'tensorflow/libtensorflow_framework.so.2': 'framework',
  'tensorflow/include/tensorflow/c/c_api.h': 'header',
  'tensorflow/include/tsl/platform/x.h': 'tsl',
  'tensorflow/include/tensorflow/core/platform/y.h': 'platform',
  'tensorflow/include/tensorflow/core/graph/z.h': 'not needed',
  'tensorflow/python/a.py': 'not needed',
};
const wheelBytes = zip(members);
const wheel: Wheel = { project: 'fake', version: '1.0', file: wheelFile, sha256: sha256(wheelBytes) };

/** An index as PEP 691 (JSON) or PEP 503 (HTML) has it, with the wheel beside it. */
function serveIndex(form: 'json' | 'html', hash = wheel.sha256): Promise<TestServer> {
  return serve((request, response) => {
    if (request.url === `/files/${wheelFile}`) send(request, response, wheelBytes);
    else if (request.url !== '/simple/fake/') response.writeHead(404).end();
    else if (form === 'json') {
      response.setHeader('content-type', 'application/vnd.pypi.simple.v1+json');
      const files = [{ filename: wheelFile, url: `../../files/${wheelFile}`, hashes: { sha256: hash } }];
      response.end(JSON.stringify({ name: 'fake', files }));
    } else {
      response.setHeader('content-type', 'text/html');
      response.end(`<html><a href="/files/${wheelFile}#sha256=${hash}" data-x="">${wheelFile}</a></html>`);
    }
  });
}

describe('the index', () => {
  test.each(['json', 'html'] as const)('gives address and checksum as %s', async (form) => {
    server = await serveIndex(form);
    const found = await findWheel(`${server.url}/simple/`, 'fake', wheelFile);
    expect(found).toEqual({ url: `${server.url}/files/${wheelFile}`, sha256: wheel.sha256 });
  });

  test('a project without the file names what is missing', async () => {
    server = await serveIndex('json');
    await expect(findWheel(`${server.url}/simple`, 'fake', 'other.whl')).rejects.toEqual(kind('no-wheel'));
  });

  test('credentials in the address are sent as a header and kept out of messages', async () => {
    server = await serveIndex('json');
    const index = server.url.replace('//', '//me:secret@');
    const error = await findWheel(index, 'absent', wheelFile).catch((reason: Error) => reason);
    expect(server.requests[0]!.authorization).toBe(`Basic ${Buffer.from('me:secret').toString('base64')}`);
    expect(String(error)).not.toContain('secret');
  });
});

describe('the wheel', () => {
  beforeEach(() => vi.stubEnv('UNFOLD_CACHE', folder));

  test('is fetched from the index, checked, and fetched only once', async () => {
    server = await serveIndex('json');
    const index = `${server.url}/simple`;
    const path = await obtainWheel(wheel, { index }, silent());
    expect(await readFile(path)).toEqual(wheelBytes);
    await obtainWheel(wheel, { index }, silent());
    expect(server.requests.filter(({ path: asked }) => asked.startsWith('/files')).length).toBe(1);
  });

  test('of an index that offers other bytes under the name is refused before the download', async () => {
    server = await serveIndex('json', '0'.repeat(64));
    const index = `${server.url}/simple`;
    await expect(obtainWheel(wheel, { index }, silent())).rejects.toEqual(kind('bad-checksum'));
    expect(server.requests.length).toBe(1);
  });

  test('at hand is checked too', async () => {
    const file = join(folder, wheelFile);
    await writeFile(file, wheelBytes.subarray(1));
    await expect(obtainWheel(wheel, { file }, silent())).rejects.toEqual(kind('bad-checksum'));
    await expect(obtainWheel(wheel, { file: `${file}x` }, silent())).rejects.toEqual(kind('missing-file'));
  });

  test('gives libraries and C headers to deps/ and nothing else', async () => {
    const file = join(folder, wheelFile);
    await writeFile(file, wheelBytes);
    await unpackWheel(file, join(folder, 'p'), silent());
    const files = (await readdir(join(folder, 'p'), { recursive: true })).sort();
    expect(files.filter((name) => /\.(h|2|so)$/.test(name))).toEqual([
      'deps/include/tensorflow/c/c_api.h',
      'deps/include/tensorflow/core/platform/y.h',
      'deps/include/tsl/platform/x.h',
      'deps/lib/libtensorflow.so',
      'deps/lib/libtensorflow_cc.so.2',
      'deps/lib/libtensorflow_framework.so',
      'deps/lib/libtensorflow_framework.so.2',
    ]);
    expect(await readFile(join(folder, 'p/deps/lib/libtensorflow.so'), 'utf8')).toBe('cc');
  });

  test.each([
    ['without the library', zip({ 'tensorflow/libtensorflow_cc.so.2': 'cc' })],
    ['cut off', wheelBytes.subarray(0, 200)],
    ['that is no zip', Buffer.from('no zip at all')],
  ])('%s is refused', async (_name, bytes) => {
    const file = join(folder, wheelFile);
    await writeFile(file, bytes);
    await expect(unpackWheel(file, join(folder, 'p'), silent())).rejects.toEqual(kind('bad-wheel'));
  });
});

describe('the folder', () => {
  test('is as before when an installation into it fails', async () => {
    const place = join(folder, 'backend');
    await fillFolder(place, async (part) => {
      await writeFile(join(part, 'works'), '1');
      return {};
    });
    const failing = fillFolder(place, async (part) => {
      await writeFile(join(part, 'half'), '1');
      throw new Error('cut off');
    });
    await expect(failing).rejects.toThrow('cut off');
    expect((await readdir(place)).sort()).toEqual(['unfold-backend.json', 'works']);
    expect(await readdir(folder)).toEqual(['backend']);
  });

  test('is locked while a process installs, and not by one that is gone', async () => {
    const place = join(folder, 'backend');
    await fillFolder(place, async () => {
      await expect(fillFolder(place, async () => ({}))).rejects.toEqual(kind('busy'));
      return {};
    });
    await writeFile(`${place}.lock`, '999999999');
    await fillFolder(place, async () => ({}));
    expect(await exists(`${place}.lock`)).toBe(false);
  });
});
