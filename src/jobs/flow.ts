/**
 * @file A pipeline as jobs: a tree of messages, the end of the flow at its root and below each job the one that has to be
 * done before it. The work is named by the hashes of everything that decides its files, so the same work queued twice is
 * the same flow, with the same ids.
 */
import { join, resolve } from 'node:path';
import { nearest, UnfoldError } from '../errors.ts';
import { hashOf } from '../files.ts';
import { readPipeline, stagesOf } from '../pipeline/pipeline.ts';
import type { PlannedStage } from '../pipeline/run-stage.ts';
import { type StageKey, stageKeys } from '../pipeline/run-stages.ts';
import type { Pipeline } from '../pipeline/schema.ts';
import { isRemote, normalisePlace } from '../storage/url.ts';
import type { JobMessage, PipelineJob, StageJob } from './message.ts';

/** A job, and those that must be done before it. */
export interface JobTree {
  message: JobMessage;
  children: JobTree[];
}

/** How a pipeline becomes jobs. */
export interface FlowOptions {
  /** Run directory (a path that every machine sees) or s3:// URL; `runs/NAME` in the current directory unless given. */
  out?: string;
  /** `train.lr=1e-3`: settings that take the place of the file's. */
  set?: readonly string[];
  /** What a worker must offer: `gpu` for every stage, `train=gpu` for one. */
  tags?: readonly string[];
  /** Into how many parts a stage may be split that can be; 16 unless given. */
  parts?: number;
}

/** The stage at the root of a pipeline's flow. */
export const PIPELINE = 'pipeline';

/**
 * The jobs of a pipeline.
 * @throws UnfoldError of the file (see readPipeline) and of what it names, `bad-setting` (a tag)
 */
export async function pipelineFlow(pathOrName: string, options: FlowOptions = {}): Promise<JobTree> {
  const pipeline = await readPipeline(pathOrName, options.set);
  const planned = stagesOf(pipeline);
  const tags = tagsOf(options.tags ?? [], planned);
  const keys = await stageKeys(planned);
  const out = placeOf(options.out ?? join('runs', pipeline.name));
  const shared = { kind: 'unfold.job/1' as const, flow: flowId(pipeline.name, { out, keys }), out };
  const stages = planned.map(
    (item, i): StageJob => ({
      ...shared,
      ...stageFields(item, keys[i]!),
      cwd: process.cwd(),
      tags: tags(item.stage.name),
      ...(item.stage.split && options.parts !== undefined && { parts: options.parts }),
    }),
  );
  const root: PipelineJob = {
    ...shared,
    type: 'pipeline',
    stage: PIPELINE,
    tags: tags(PIPELINE),
    settings: { name: pipeline.name, source: pipeline.harvest.source } satisfies PipelineSettings,
    stages: Object.fromEntries(keys.map(({ name, key }) => [name, key])),
  };
  const chain = stages.reduce<JobTree | undefined>(above, undefined);
  return { message: root, children: chain ? [chain] : [] };
}

/** What the root's message says beside the keys. */
export interface PipelineSettings {
  name: string;
  source: Pipeline['harvest']['source'];
}

/** Every stage waits for the one before it, as in `unfold run`; so what it reads is there. */
function above(before: JobTree | undefined, message: StageJob): JobTree {
  return { message, children: before ? [before] : [] };
}

function stageFields({ stage, settings }: PlannedStage, { key, identity, inputs }: StageKey) {
  return {
    type: 'stage' as const,
    stage: stage.name,
    version: stage.version,
    // As JSON has it: what is undefined is not there.
    settings: JSON.parse(JSON.stringify(settings)) as StageJob['settings'],
    key,
    identity: JSON.parse(JSON.stringify(identity)) as StageJob['settings'],
    inputs,
    phase: 'split' as const,
  };
}

/** An id that a person can read and that is the same for the same work: `quickstart-9c1f22ab`. */
export function flowId(name: string, work: unknown): string {
  const readable = name.replaceAll(/[^\w.-]/g, '_').slice(0, 100);
  return `${readable}-${hashOf(work).slice(0, 8)}`;
}

/** A path that means the same wherever the job runs, or an s3:// URL. */
export function placeOf(out: string): string {
  return isRemote(out) ? normalisePlace(out) : resolve(out);
}

/** All messages of a tree, the root first. */
export function messagesOf(tree: JobTree): JobMessage[] {
  return [tree.message, ...tree.children.flatMap(messagesOf)];
}

function tagsOf(given: readonly string[], planned: readonly PlannedStage[]): (stage: string) => string[] {
  const known = [...planned.map(({ stage }) => stage.name), PIPELINE];
  const parsed = given.map((text) => {
    const [, stage, tag] = /^(?:([\w-]+)=)?([\w-]{1,30})$/.exec(text) ?? [];
    if (tag === undefined) throw badTag(text, 'a tag of letters, digits and dashes', text);
    if (stage !== undefined && !known.includes(stage))
      throw badTag(
        text,
        `one of ${known.join(', ')} before "="`,
        `${stage}, of which ${nearest(stage, known, 1)[0]} is the nearest`,
      );
    return { stage, tag };
  });
  return (name) => {
    // The end of a flow reads a few small files: any worker can do it, unless it is named.
    const own = parsed.filter(({ stage }) => stage === name || (stage === undefined && name !== PIPELINE));
    return [...new Set(own.map(({ tag }) => tag))].sort();
  };
}

function badTag(text: string, expected: string, found: string): UnfoldError {
  const todo = 'write --tag gpu for all stages or --tag train=gpu for one';
  return new UnfoldError('bad-setting', { where: `--tag ${text}`, expected, found, todo });
}
