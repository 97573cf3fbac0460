/**
 * @file `unfold run`: a pipeline file becomes stages with settings, which run one after the other, each once. The same
 * stages can run as jobs elsewhere, since a stage is a function of a small message (stage.ts).
 */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { checked } from '../checked.ts';
import { type StageContext, silent } from '../context.ts';
import { nearest, UnfoldError } from '../errors.ts';
import type { Metrics } from '../evaluate/definitions.ts';
import { readJson } from '../files.ts';
import type { Summary } from '../summary/summary.ts';
import type { SweepSummary } from '../summary/sweep.ts';
import { packageRoot, resolvePath, searchPlaces } from './paths.ts';
import {
  otherFolders,
  type PlannedStage,
  planStages,
  runStages,
  type StageOutcome,
  type StagePlan,
} from './run-stages.ts';
import { type Pipeline, parsePipeline } from './schema.ts';
import type { Stage } from './stage.ts';
import { stages } from './stages/index.ts';
import { RUN, SWEEP } from './stages/train.ts';
import { applySetting, readYaml } from './yaml.ts';

export { stages } from './stages/index.ts';

/** How to run a pipeline. */
export interface PipelineOptions {
  /** Run directory; `runs/NAME` in the current directory unless given. */
  out?: string;
  /** `train.lr=1e-3`: settings that take the place of the file's. */
  set?: readonly string[];
  /** Make this stage and those that depend on it again. */
  from?: string;
}

/** A pipeline run. */
export interface PipelineResult {
  pipeline: string;
  out: string;
  stages: StageOutcome[];
  /** Of the coder; empty for a sweep, whose coders' metrics are in its summary. */
  metrics: Metrics;
  summary: Summary | SweepSummary;
  /** Of the coder (SAELens's layout), evaluation, summary, shards if there are any. */
  paths: Record<string, string>;
  seconds: number;
}

/**
 * Reads a pipeline: a path, or the name of a bundled one (`quickstart`).
 * @throws UnfoldError `missing-file`, `bad-yaml`, `bad-setting`, `bad-pipeline`
 */
export async function readPipeline(pathOrName: string, set: readonly string[] = []): Promise<Pipeline> {
  const bundled = join(packageRoot(), 'pipelines', `${pathOrName}.yaml`);
  const found = resolvePath(pathOrName, searchPlaces());
  if (!isEntry(found) && !existsSync(bundled)) refuseName(pathOrName);
  const source = await readYaml(isEntry(found) ? found : bundled);
  for (const assignment of set) applySetting(source, assignment);
  return parsePipeline(source);
}

/** Whether a name stands for anything, be it a link that leads nowhere: what is wrong with it is for the reader to say. */
function isEntry(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** @throws UnfoldError `missing-file` for a word that is no file and no bundled pipeline, with the nearest that is */
function refuseName(name: string): void {
  const wanted = basename(name).replace(/\.ya?ml$/, '');
  const known = readdirSync(join(packageRoot(), 'pipelines'))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => basename(file, '.yaml'));
  throw new UnfoldError('missing-file', {
    where: name,
    expected: `a pipeline file (YAML), or a bundled pipeline: ${known.join(', ')}`,
    found: 'no such file, and no bundled pipeline of this name',
    todo: `check the path; did you mean ${nearest(wanted, known, 1)[0]}?`,
  });
}

/** The stages of a pipeline with their settings, in order. */
export function stagesOf(pipeline: Pipeline): PlannedStage[] {
  const { model, text } = pipeline;
  const harvest = { ...pipeline.harvest, model, text };
  const held = pipeline.evaluate.text;
  const { features, examples, reference, reference_note } = pipeline.summary;
  const settings: [Stage, unknown][] = [
    [stages.corpus!, { model, text }],
    [stages.harvest!, harvest],
    [stages.train!, { train: pipeline.train, harvest }],
    [stages.evaluate!, { model, text: held, batch_contexts: pipeline.evaluate.batch_contexts }],
    [
      stages.summary!,
      {
        title: pipeline.title ?? pipeline.name,
        model,
        trained_on: text.dataset,
        text: pipeline.summary.text ?? held,
        features,
        examples,
        reference,
        ...(reference_note && { reference_note }),
      },
    ],
  ];
  return settings.map(([stage, value]) => ({
    stage,
    settings: checked(stage.settings, value, { where: `stage ${stage.name}`, kind: 'bad-pipeline' }),
  }));
}

/** What {@link runPipeline} would do; makes nothing. */
export async function planPipeline(pathOrName: string, options: PipelineOptions = {}): Promise<StagePlan[]> {
  const pipeline = await readPipeline(pathOrName, options.set);
  const planned = stagesOf(pipeline);
  checkStageName(options.from, planned);
  return planStages(planned, outOf(pipeline, options));
}

/**
 * Runs a pipeline; the same call goes on after a stop, and returns at once when all is done.
 * @throws UnfoldError of the file (see {@link readPipeline}), `locked`, and those of the stages
 */
export async function runPipeline(
  pathOrName: string,
  options: PipelineOptions = {},
  context: StageContext = silent(),
): Promise<PipelineResult> {
  const began = performance.now();
  const pipeline = await readPipeline(pathOrName, options.set);
  const planned = stagesOf(pipeline);
  checkStageName(options.from, planned);
  const out = outOf(pipeline, options);
  const outcomes = await runStages(planned, { out, from: options.from, onStage: announce(context) }, context);
  const unused = await otherFolders(outcomes, out);
  if (unused.length > 0)
    context.note(`kept from other settings, remove them when you like: ${unused.join(' ')}`);
  const seconds = (performance.now() - began) / 1000;
  const about = { name: pipeline.name, source: pipeline.harvest.source };
  return { ...(await pipelineResult(about, out, outcomes)), seconds };
}

/** What finished stages amount to. */
export async function pipelineResult(
  about: { name: string; source: Pipeline['harvest']['source'] },
  out: string,
  outcomes: StageOutcome[],
): Promise<Omit<PipelineResult, 'seconds'>> {
  const { dir } = outcomes.find(({ name }) => name === 'summary')!;
  const summary = (await readJson(join(dir, 'summary.json'))) as Summary | SweepSummary;
  const shards: Record<string, string> =
    about.source === 'shards' ? { shards: join(out, 'harvest', 'activations') } : {};
  const shared = {
    evaluation: join(out, 'evaluate', 'evaluation.json'),
    summary: join(out, 'summary', 'summary.md'),
  };
  const found = { pipeline: about.name, out, stages: outcomes, summary };
  if (summary.kind === 'unfold.sweep-summary/1') {
    const own = { coders: join(out, 'train', SWEEP), pareto: join(out, 'summary', 'pareto.svg') };
    return { ...found, metrics: {}, paths: { ...shards, ...own, ...shared } };
  }
  const own = {
    coder: join(out, 'train', RUN, 'final'),
    training_metrics: join(out, 'train', RUN, 'metrics.jsonl'),
    latents: join(out, 'evaluate', 'latents.safetensors'),
  };
  return { ...found, metrics: summary.metrics, paths: { ...shards, ...own, ...shared } };
}

function outOf(pipeline: Pipeline, { out }: PipelineOptions): string {
  return resolve(out ?? join('runs', pipeline.name));
}

function checkStageName(name: string | undefined, planned: readonly PlannedStage[]): void {
  const known = planned.map(({ stage }) => stage.name);
  if (name === undefined || known.includes(name)) return;
  throw new UnfoldError('bad-setting', {
    where: '--from',
    expected: `one of ${known.join(', ')}`,
    found: name,
    todo: `did you mean ${nearest(name, known, 1)[0]}?`,
  });
}

function announce(context: StageContext) {
  return ({ name, event, state, seconds }: StagePlan & { event: 'skip' | 'begin' | 'end' }) => {
    if (event === 'skip') context.note(`${name}: finished before (${seconds?.toFixed(1)} s), skipped`);
    if (event === 'begin' && state === 'started') context.note(`${name}: begun before, going on`);
    if (event === 'end') context.note(`${name}: done in ${seconds?.toFixed(1)} s`);
  };
}

/** The one object of `unfold run --json`: every metric under its name, then where everything is. */
export function pipelineJson(result: PipelineResult): Record<string, unknown> {
  const { pipeline, out, metrics, paths, seconds, summary } = result;
  return {
    pipeline,
    out,
    ...metrics,
    seconds: Math.round(seconds * 1000) / 1000,
    stages: Object.fromEntries(
      result.stages.map(({ name, key, skipped, seconds: took, result: facts }) => [
        name,
        { key, skipped, seconds: took, ...facts },
      ]),
    ),
    paths,
    ...('features' in summary ? { top_features: summary.features } : { coders: summary.coders }),
  };
}
