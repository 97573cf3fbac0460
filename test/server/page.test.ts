import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assetPath } from '../../src/server/page/asset-path.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { getJson, getText, stageMessage, type TestWorld, testWorld } from './world.ts';

const HOSTILE = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>';
let world: TestWorld;
let server: RunningServer;
let runs: string;
const train = stageMessage('train');

beforeAll(async () => {
  world = await testWorld();
  runs = await mkdtemp(join(tmpdir(), 'unfold-server-'));
  await mkdir(join(runs, 'train-abababab'));
  await writeFile(join(runs, 'train-abababab', 'weights'), Buffer.alloc(1 << 16, 1));
  await writeFile(join(runs, 'train-abababab', 'stage.json'), '{}');
  const message = stageMessage('train', { out: runs });
  await world.add('train', message.data, { jobId: train.id });
  const job = await world.queue('train').getJob(train.id);
  await job!.updateProgress({
    label: 'train',
    done: 250,
    total: 1000,
    unit: 'tokens',
    losses: [5, 4, 3.25],
    facts: { loss: 3.25, l0: 32 },
    note: HOSTILE,
  });
  await job!.log(`a line & ${HOSTILE}`);
  await world.add('train', { poison: HOSTILE }, { jobId: HOSTILE });
  server = await world.serve({ runs: [runs] });
});
afterAll(async () => {
  await world.close();
  await rm(runs, { recursive: true, force: true });
});

describe('our pages', () => {
  it('show flows with state, progress, loss and buttons', async () => {
    const page = await getText(server, '/');
    expect(page).toContain('demo-1a2b3c4d');
    expect(page).toMatch(/<progress max="100" value="25" aria-label="progress of train">/);
    expect(page).toContain('aria-label="loss from 5 to 3.25"');
    expect(page).toMatch(/<polyline points="0\.0,1\.5 48\.0,\S+ 96\.0,20\.5"/);
    expect(page).toContain(`action="/api/jobs/${train.id}/cancel"`);
  });

  it('never let names, notes, messages or failures become markup', async () => {
    const paths = ['/', `/jobs/${train.id}`, `/jobs/${encodeURIComponent(HOSTILE)}`, '/workers', '/disk'];
    paths.push(`/flows/${encodeURIComponent(HOSTILE)}`, '/flows/demo-1a2b3c4d', `/jobs/${train.id}?part=1`);
    for (const path of paths) {
      const page = await getText(server, path);
      expect(page, path).not.toMatch(/<script>|<img/);
      expect(page.match(/<script/g) ?? [], path).toHaveLength(path.endsWith('part=1') ? 0 : 1);
    }
    expect(await getText(server, '/')).toContain('&#60;script&#62;alert(');
  });

  it('show a poisoned job with what is wrong about it', async () => {
    expect(await getText(server, '/')).toContain('not a message of Unfold');
  });

  it('lead from a job to its settings, its folders and its log', async () => {
    const page = await getText(server, `/jobs/${train.id}`);
    expect(page).toContain('&#34;width&#34;: 64');
    expect(page).toContain(`${runs}/train-abababab`);
    expect(page).toContain(`${runs}/harvest-cdcdcdcd`);
    expect(page).toMatch(/64\.0 KiB|68\.0 KiB/);
    const log = await getJson<{ lines: string[]; next: number }>(server, `/api/jobs/${train.id}/log`);
    expect(log.lines).toEqual([`a line & ${HOSTILE}`]);
    expect(await getJson(server, `/api/jobs/${train.id}/log?after=${log.next}`)).toMatchObject({ lines: [] });
    for (const odd of ['', '%20', '0x1', '-1', '1.5', 'x'])
      expect((await fetch(`${server.url}api/jobs/${train.id}/log?after=${odd}`)).status, odd).toBe(400);
  });

  it('say what runs take on the disk', async () => {
    const { runs: found } = await getJson<{ runs: { path: string; bytes: number; stages: unknown[] }[] }>(
      server,
      '/api/runs',
    );
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({
      path: runs,
      stages: [{ name: 'train-abababab', finished: true, files: 2 }],
    });
    expect(found[0]!.bytes).toBeGreaterThanOrEqual(1 << 16);
    expect(await getText(server, '/disk')).toContain('train-abababab');
  });

  it('run no script but ours, and need nothing from elsewhere', async () => {
    const answer = await fetch(server.url);
    const policy = answer.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).not.toContain('unsafe');
    const page = await answer.text();
    expect(page).not.toMatch(/(src|href)="(https?:)?\/\//);
    expect(page).not.toMatch(/ style="| on\w+="/);
    const script = await fetch(new URL('/assets/page.js', server.url));
    expect(script.headers.get('content-type')).toContain('text/javascript');
    expect((await fetch(new URL('/assets/page.css', server.url))).status).toBe(200);
  });

  it('have a script that parses', () => {
    execFileSync(process.execPath, ['--check', assetPath('page.js')]);
  });

  it('answer 404 with a lesson for jobs that are not there', async () => {
    const page = await fetch(new URL('/jobs/none.train', server.url), { headers: { accept: 'text/html' } });
    expect(page.status).toBe(404);
    expect(await page.text()).toContain('to mend');
    const api = await fetch(new URL('/api/jobs/none.train', server.url));
    expect([api.status, await api.json()]).toMatchObject([404, { error: { kind: 'no-such-job' } }]);
    expect((await fetch(new URL('/nothing', server.url))).status).toBe(404);
  });
});
