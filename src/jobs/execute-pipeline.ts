/** @file The end of a flow: all stages are there, and what they amount to is what `unfold run --json` prints. */
import { z } from 'zod';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { pipelineJson, pipelineResult } from '../pipeline/pipeline.ts';
import { pointAt } from '../pipeline/run-stage.ts';
import type { StageOutcome } from '../pipeline/run-stages.ts';
import { isRemote, joinPlace } from '../storage/url.ts';
import { withWorkspace } from '../storage/workspace.ts';
import type { ExecuteOptions } from './execute.ts';
import type { PipelineSettings } from './flow.ts';
import type { PipelineJob } from './message.ts';
import type { JobOutcome } from './protocol.ts';
import { removeQueueFile } from './queue-file.ts';
import { assertOut, stageManifest } from './visible.ts';

const settingsSchema: z.ZodType<PipelineSettings> = z.strictObject({
  name: z.string(),
  source: z.enum(['shards', 'live']),
});

/** See executeJob. */
export async function executePipeline(
  message: PipelineJob,
  { scratch }: ExecuteOptions,
  context: StageContext,
): Promise<JobOutcome> {
  const { out, stages } = message;
  const about = parsed(message);
  await assertOut(out);
  const outcomes: StageOutcome[] = [];
  for (const [name, key] of Object.entries(stages)) outcomes.push(await outcomeOf(out, name, key));
  const summary = outcomes.find(({ name }) => name === 'summary');
  if (!summary) throw badPipeline('stages', 'a summary among them', Object.keys(stages).join(', '));
  const options = { out, dir: folderOf(summary), scratch };
  const result = await withWorkspace(options, context, ({ out: local, dir }) =>
    pipelineResult(
      about,
      local,
      outcomes.map((of) => (of === summary ? { ...of, dir } : of)),
    ).then((found) => ({
      ...found,
      out,
      paths: isRemote(out) ? remotePaths(found.paths, local, out, outcomes) : found.paths,
    })),
  );
  if (!isRemote(out)) for (const { name, dir } of outcomes) await pointAt(out, name, dir);
  await removeQueueFile(message);
  const seconds = outcomes.reduce((sum, of) => sum + of.seconds, 0);
  return { type: 'done', result: pipelineJson({ ...result, seconds }), skipped: false };
}

function parsed({ settings }: PipelineJob): PipelineSettings {
  const parsed = settingsSchema.safeParse(settings);
  if (parsed.success) return parsed.data;
  throw badPipeline(
    'settings',
    'name and source of a pipeline',
    z.prettifyError(parsed.error).replaceAll('\n', ' '),
  );
}

function badPipeline(where: string, expected: string, found: string): UnfoldError {
  const todo =
    'queue the pipeline again with unfold enqueue, by the same version of Unfold that the worker has';
  return new UnfoldError('bad-job', { where: `a message from the queue: ${where}`, expected, found, todo });
}

const folderOf = ({ name, key }: { name: string; key: string }) => `${name}-${key.slice(0, 8)}`;

async function outcomeOf(out: string, name: string, key: string): Promise<StageOutcome> {
  const { identity, inputs, result, seconds } = await stageManifest(out, name, key);
  const dir = joinPlace(out, folderOf({ name, key }));
  return { name, key, identity, inputs, dir, state: 'finished', skipped: false, seconds, result };
}

/** An object store has no links: paths lead to the stages' own folders. */
function remotePaths(
  paths: Record<string, string>,
  local: string,
  out: string,
  outcomes: readonly StageOutcome[],
): Record<string, string> {
  const entries = Object.entries(paths).map(([what, path]) => {
    const [stage = '', ...rest] = path.slice(local.length + 1).split('/');
    const outcome = outcomes.find(({ name }) => name === stage);
    return [what, joinPlace(out, [outcome ? folderOf(outcome) : stage, ...rest].join('/'))];
  });
  return Object.fromEntries(entries);
}
