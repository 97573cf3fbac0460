import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UnfoldError } from '../../src/errors.ts';
import { packageRoot, resolvePath } from '../../src/pipeline/paths.ts';
import { readPipeline, stages, stagesOf } from '../../src/pipeline/pipeline.ts';
import { parsePipeline } from '../../src/pipeline/schema.ts';
import { applySetting, parseYaml, readYaml } from '../../src/pipeline/yaml.ts';
import { syntheticConfig, synthSchema } from '../../src/synth/synth.ts';
import { namedHooks } from '../../src/train/hooks.ts';
import { resolveSettings } from '../../src/train/settings.ts';
import { expandSweep, isSweep, refuseDifferentRows } from '../../src/train/sweep-file.ts';

const MINIMAL = `
name: small
model: checkpoints/novels-4l
text: {dataset: datasets/novels, context_size: 64, prepend_bos: false}
harvest: {hook_names: [blocks.0.hook_mlp_out]}
evaluate: {text: {dataset: datasets/novels-heldout}}
`;

const parse = (text: string, ...set: string[]) => {
  const source = parseYaml(text, 'small.yaml');
  for (const assignment of set) applySetting(source, assignment);
  return parsePipeline(source);
};

function lessonOf(text: string, ...set: string[]) {
  try {
    parse(text, ...set);
  } catch (error) {
    return (error as UnfoldError).lesson;
  }
  throw new Error('was accepted');
}

/** Every coder's settings resolve for rows of 128 numbers a hook, and read hooks that are there. */
function expectCoders(train: Record<string, unknown>, hooks: readonly string[]): void {
  const coders = isSweep(train) ? expandSweep(train) : new Map([['', train]]);
  const resolved = [...coders].map(([name, settings]) => [name, resolveSettings(settings, 128)] as const);
  refuseDifferentRows(new Map(resolved));
  for (const [, settings] of resolved) {
    for (const hook of namedHooks(settings)) expect(hooks).toContain(hook);
  }
}

describe('a pipeline', () => {
  const folder = join(packageRoot(), 'pipelines');
  const yamlFiles = (dir: string) => readdirSync(dir).filter((file) => file.endsWith('.yaml'));
  const isSynth = (file: string) => file.startsWith('synth');

  it.each(yamlFiles(folder).filter((file) => !isSynth(file)))(
    '%s, which is bundled, is sound',
    async (file) => {
      const name = file.replace('.yaml', '');
      const pipeline = await readPipeline(name);
      expect(pipeline.name).toBe(name);
      expect(await readPipeline(`pipelines/${file}`)).toEqual(pipeline);
      expect(stagesOf(pipeline).map(({ stage }) => stage.name)).toEqual(Object.keys(stages));
      expectCoders(pipeline.train, pipeline.harvest.hook_names);
    },
  );

  it.each(yamlFiles(join(folder, 'sweeps')))('sweeps/%s, which is bundled, is sound', async (file) => {
    const { document } = await readYaml(join(folder, 'sweeps', file));
    expectCoders(document.toJS() as Record<string, unknown>, ['blocks.2.hook_resid_pre']);
  });

  it.each(yamlFiles(folder).filter(isSynth))('%s, a bundled file of unfold synth, is sound', async (file) => {
    const { document } = await readYaml(join(folder, file));
    const { model, train } = synthSchema.parse(document.toJS());
    expectCoders(train, ['synthetic']);
    expect(syntheticConfig(model)).toBeDefined();
  });

  it('packs held-out text like the main text unless it says otherwise', () => {
    const { evaluate } = parse(MINIMAL);
    expect(evaluate.text).toMatchObject({ context_size: 64, prepend_bos: false });
    expect(parse(MINIMAL, 'evaluate.text.context_size=32').evaluate.text.context_size).toBe(32);
  });

  it('knows the settings of the chosen architecture and no others', () => {
    expect(parse(MINIMAL, 'train.architecture=standard', 'train.l1_coefficient=5').train).toMatchObject({
      l1_coefficient: 5,
    });
    const lesson = lessonOf(`${MINIMAL}train: {architecture: topk, l1_coefficient: 5}`);
    expect(lesson.where).toBe('small.yaml:7:29: train.l1_coefficient');
    expect(lessonOf(MINIMAL, 'train.architecture=topkk').expected).toContain('topk, batchtopk');
  });

  it.each([
    ['harvest.shard_rows=64', 'harvest.source=live'],
    ['text.seed=3', 'text.shuffle=false'],
    ['evaluate.text.seed=3', 'evaluate.text.shuffle=false'],
    ['summary.features=3', 'train.grid={k: [4, 8]}'],
    ['summary.examples=2', 'train.coders={a: {k: 4}}'],
  ])('refuses %s beside %s, which leaves it without effect', (idle, because) => {
    const name = idle.split('=')[0]!;
    expect(lessonOf(MINIMAL, idle, because)).toMatchObject({
      where: `--set ${name}: ${name}`,
      todo: `leave ${name} out`,
    });
    expect(() => parse(MINIMAL, because)).not.toThrow();
    expect(() => parse(MINIMAL, idle)).not.toThrow();
  });

  it('says where an idle setting stands, and leaves a line of the file whose choice --set overrides', () => {
    const file = (more: string) => MINIMAL.replace('context_size: 64', `context_size: 64, seed: 3${more}`);
    expect(lessonOf(file(', shuffle: false')).where).toMatch(/^small\.yaml:4:\d+: text\.seed$/);
    expect(parse(file(''), 'text.shuffle=false').text.shuffle).toBe(false);
  });

  it('names the nearest settings for a misspelt one', () => {
    expect(lessonOf(`${MINIMAL}trian: {k: 3}`).todo).toContain('"train"');
    expect(lessonOf(MINIMAL, 'text.contextsize=3').todo).toContain('"context_size"');
  });
});

describe('a path in a pipeline', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'unfold-paths-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('leads to the first place that has it', async () => {
    const [near, far] = [join(dir, 'near'), join(dir, 'far')];
    await mkdir(join(far, 'data'), { recursive: true });
    expect(resolvePath('data', [near, far])).toBe(join(far, 'data'));
    await mkdir(join(near, 'data'), { recursive: true });
    expect(resolvePath('data', [near, far])).toBe(join(near, 'data'));
    expect(resolvePath('data/*.txt', [near, far])).toBe(join(near, 'data/*.txt'));
  });

  it('is left alone where no place has it (a hub id) and where it is absolute', async () => {
    await writeFile(join(dir, 'x'), '');
    expect(resolvePath('openai-community/gpt2', [dir])).toBe('openai-community/gpt2');
    expect(resolvePath(join(dir, 'x'), ['/nowhere'])).toBe(join(dir, 'x'));
  });

  it('finds what is bundled from any directory', async () => {
    const { model, text } = await readPipeline('quickstart');
    expect([model, text.dataset]).toEqual([
      join(packageRoot(), 'checkpoints/novels-4l'),
      join(packageRoot(), 'datasets/novels'),
    ]);
  });
});
