import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { silent } from '../../src/context.ts';
import { lockDirectory } from '../../src/lock.ts';
import { otherFolders, type PlannedStage, planStages, runStages } from '../../src/pipeline/run-stages.ts';
import type { Stage } from '../../src/pipeline/stage.ts';

let dir: string;
let log: string[];

/** Writes value.txt with its setting and what it read; fails once after writing half.txt when told to. */
function toy(name: string, needs: string[], failOnce = { now: false }): Stage {
  return {
    name,
    version: 1,
    needs,
    settings: z.number(),
    outputs: ['value.txt'],
    identity: async (settings) => settings as number,
    async run({ settings, inputs, dir }) {
      const resumed = (await readdir(dir)).includes('half.txt');
      log.push(resumed ? `${name} resumed` : name);
      await writeFile(join(dir, 'half.txt'), '');
      if (failOnce.now) {
        failOnce.now = false;
        throw new Error('power cut');
      }
      const parents = await Promise.all(
        needs.map((need) => readFile(join(inputs[need]!.dir, 'value.txt'), 'utf8')),
      );
      await writeFile(join(dir, 'value.txt'), [settings, ...parents].join('+'));
      return { value: settings as number };
    },
  };
}

function chain(a: number, b: number, c: number, failOnce = { now: false }): PlannedStage[] {
  return [
    { stage: toy('a', []), settings: a },
    { stage: toy('b', ['a'], failOnce), settings: b },
    { stage: toy('c', ['b']), settings: c },
  ];
}

describe('running stages', () => {
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'unfold-run-'));
    log = [];
  });
  afterEach(() => rm(dir, { recursive: true }));
  const run = (planned: PlannedStage[], from?: string) => runStages(planned, { out: dir, from }, silent());
  const value = () => readFile(join(dir, 'c', 'value.txt'), 'utf8');

  it('does each once: a second run skips all and returns the same results', async () => {
    const first = await run(chain(1, 2, 3));
    expect(await value()).toBe('3+2+1');
    const second = await run(chain(1, 2, 3));
    expect(log).toEqual(['a', 'b', 'c']);
    expect(second.map(({ skipped }) => skipped)).toEqual([true, true, true]);
    expect(second.map(({ result }) => result)).toEqual(first.map(({ result }) => result));
  });

  it('goes on in the middle of the stage that was stopped', async () => {
    await expect(run(chain(1, 2, 3, { now: true }))).rejects.toThrow('power cut');
    await run(chain(1, 2, 3));
    expect(log).toEqual(['a', 'b', 'b resumed', 'c']);
    expect(await value()).toBe('3+2+1');
  });

  it('makes anew only what depends on a changed setting, and keeps what the old one made', async () => {
    await run(chain(1, 2, 3));
    await run(chain(1, 5, 3));
    expect(log).toEqual(['a', 'b', 'c', 'b', 'c']);
    expect(await value()).toBe('3+5+1');
    const plans = await planStages(chain(1, 5, 3), dir);
    expect((await otherFolders(plans, dir)).length).toBe(2);
    await run(chain(1, 2, 3));
    expect(log).toHaveLength(5);
    expect(await value()).toBe('3+2+1');
  });

  it('repeats a stage and its dependents with `from`', async () => {
    await run(chain(1, 2, 3));
    await run(chain(1, 2, 3), 'b');
    expect(log).toEqual(['a', 'b', 'c', 'b', 'c']);
  });

  it('repeats a stage whose files were removed', async () => {
    await run(chain(1, 2, 3));
    await rm(join(dir, 'b', 'value.txt'));
    await run(chain(1, 2, 3));
    expect(log).toEqual(['a', 'b', 'c', 'b resumed']);
  });

  it('plans without making anything', async () => {
    const plans = await planStages(chain(1, 2, 3), dir);
    expect(plans.map(({ state }) => state)).toEqual(['new', 'new', 'new']);
    expect(await readdir(dir)).toEqual([]);
  });

  it('stops between stages when aborted', async () => {
    const stop = new AbortController();
    stop.abort(new Error('Ctrl-C'));
    await expect(runStages(chain(1, 2, 3), { out: dir }, silent(stop.signal))).rejects.toThrow('Ctrl-C');
    expect(log).toEqual([]);
  });

  it('refuses a second process on the same directory', async () => {
    const slow = chain(1, 2, 3);
    const outcomes = await Promise.allSettled([run(slow), run(slow)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(log).toEqual(['a', 'b', 'c']);
  });

  it('waits while a worker of the queue has a stage’s folder, and uses what it finished', async () => {
    const [plan] = await planStages(chain(1, 2, 3), dir);
    const worker = await lockDirectory(plan!.dir);
    const notes: string[] = [];
    const [stage] = chain(1, 2, 3);
    const context = {
      ...silent(),
      note(text: string) {
        notes.push(text);
        void worker.release();
      },
    };
    await runStages([stage!], { out: dir }, context);
    expect(notes).toEqual([expect.stringContaining('a: waiting')]);
    expect(log).toEqual(['a']);
  });

  it('leaves a stable path to the folder of the settings at hand', async () => {
    await run(chain(1, 2, 3));
    const [a] = await planStages(chain(1, 2, 3), dir);
    expect(join(dir, await readlink(join(dir, 'a')))).toBe(a!.dir);
  });
});
