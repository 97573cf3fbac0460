/**
 * @file `unfold evaluate` as a function for whatever a path holds: a coder of one hook, a coder over several (cross-layer
 * transcoder, crosscoder), or a set with one coder a hook, which is evaluated as the one replacement that it is.
 */
import { type Coder, loadCoderSet } from '../coders/coder.ts';
import { type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { readJson, writeJson } from '../files.ts';
import { refuseOwnInput, refuseReplacing } from '../own-input.ts';
import { openShards } from '../shards/reader.ts';
import {
  type CoderEvaluation,
  checkInputs,
  type EvaluateCoderOptions,
  evaluateLoaded,
  withModel,
} from './evaluate-coder.ts';
import { evaluateLayers, evaluateLayersRows, type LayersEvaluation } from './evaluate-layers.ts';
import { describeExclusions } from './exclusions.ts';
import { layersJson, writeLayersLatents } from './layers-report.ts';
import { type Replacement, replacementOf } from './replacement.ts';
import { rowChoice } from './stored-rows.ts';

/** An evaluation of coders over several hooks, and what it was made on. */
export interface LayersCoderEvaluation {
  layers: LayersEvaluation;
  facts: CoderEvaluation['facts'];
}

/**
 * Evaluates what is at `options.coder`.
 * @throws UnfoldError as `evaluateCoder`; `bad-evaluation` for several coders of one hook
 */
export async function evaluateCoders(
  options: EvaluateCoderOptions,
  context: StageContext = silent(),
): Promise<CoderEvaluation | LayersCoderEvaluation> {
  checkInputs(options);
  await refuseOwnInputs(options);
  const set = await loadCoderSet(options.coder, options, (text) => context.warn(text));
  try {
    const [coder] = set.coders;
    const replacement = replacementOf(set.coders);
    if (!replacement) return await evaluateLoaded(coder!, options, context);
    refuseForSeveral(options);
    const result = options.shards
      ? await onShards(coder!, replacement, options, context)
      : await withModel(coder!, options, context, async ({ facts, ...world }) => ({
          layers: await evaluateLayers({ ...world, replacement }, context),
          facts,
        }));
    if (options.per_latent) await writeLayersLatents(options.per_latent, result.layers);
    if (options.out) await writeJson(options.out, layersJson(result.layers, result.facts));
    return result;
  } finally {
    set.dispose();
  }
}

async function onShards(
  coder: Coder,
  replacement: Replacement,
  options: EvaluateCoderOptions,
  context: StageContext,
): Promise<LayersCoderEvaluation> {
  const source = await openShards(options.shards!, context);
  try {
    const choice = await rowChoice(coder, source, options, context);
    const exclusions = describeExclusions(choice.exclusions);
    context.note(exclusions);
    const layers = await evaluateLayersRows({ replacement, source, ...choice }, context);
    return { layers, facts: { coder: options.coder, shards: options.shards, exclusions } };
  } finally {
    await source.close();
  }
}

/** True for what an earlier evaluation wrote, which may be written again beside the coder. */
async function isEvaluation(file: string): Promise<boolean> {
  const found = file.endsWith('.json') ? await readJson(file).catch(() => undefined) : undefined;
  const kind = String((found as { kind?: unknown } | null | undefined)?.kind);
  return /^unfold\.(layers-)?evaluation\//.test(kind);
}

/** Files that are written, held against those that are read. */
async function refuseOwnInputs(options: EvaluateCoderOptions): Promise<void> {
  const { coder, model, shards, tokens, dataset } = options;
  const files = {
    '--out': options.out,
    '--per-token': options.per_token,
    '--per-latent': options.per_latent,
  };
  for (const [option, file] of Object.entries(files)) {
    await refuseOwnInput(option, file, [shards, tokens, dataset]);
    if (file !== undefined && !(await isEvaluation(file)))
      await refuseReplacing(option, file, [coder, model]);
  }
}

/** Options that mean one hook. */
function refuseForSeveral(options: EvaluateCoderOptions): void {
  const { hook_name, hook_name_out, per_token, batch_contexts } = options;
  const given = Object.entries({ hook_name, hook_name_out, per_token, batch_contexts }).find(
    ([, value]) => value !== undefined,
  );
  if (!given) return;
  throw new UnfoldError('bad-setting', {
    where: 'unfold evaluate',
    expected: 'none of hook_name, hook_name_out, per_token and batch_contexts for coders over several hooks',
    found: given[0],
    todo: `leave it out; a set's coders can be evaluated one by one with --layer, --hook or --name`,
  });
}
