/**
 * @file Opens what a harvest reads: tokeniser, token contexts and model, unless the caller has them already, and works
 * out which tokens give rows.
 */
import type { StageContext } from '../context.ts';
import { loadGPT2 } from '../model/gpt2.ts';
import { expandHooks } from '../model/hook-globs.ts';
import { assertFits, loadTokenizer, type Tokenizer } from '../model/tokenizer.ts';
import { type Corpus, openCorpus } from '../text/contexts.ts';
import type { ForwardOptions, HookedModel } from './forward.ts';
import type { GivenInputs } from './harvest.ts';
import { slicePositions } from './rows.ts';
import { precisionOf, type ResolvedHarvestSettings } from './settings.ts';

/** Everything that {@link BlockForward} needs. */
export interface HarvestInputs {
  model: HookedModel;
  corpus: Corpus;
  forward: ForwardOptions;
  /** With every hook point by its name. */
  settings: ResolvedHarvestSettings;
  /** Lets go of what was opened here. */
  close(): void;
}

/** Opens what is not given. */
export async function openInputs(
  settings: ResolvedHarvestSettings,
  context: StageContext,
  given: GivenInputs,
): Promise<HarvestInputs> {
  const tokenizer = given.tokenizer ?? (await loadTokenizer(settings.model, context));
  const corpus = given.corpus ?? (await openCorpus(settings.text, tokenizer, {}, context));
  const loaded = given.model ? undefined : await loadGPT2(settings.model, context);
  const model = given.model ?? loaded!;
  const close = () => {
    loaded?.dispose();
    if (!given.corpus) corpus.close();
  };
  try {
    assertFits(tokenizer, model.cfg.d_vocab, context);
    const named = withHookNames(settings, model);
    return { model, corpus, settings: named, forward: forwardOptions(named, tokenizer, corpus), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The settings with every hook point by its name, where globs stood. @throws UnfoldError `unknown-hook` */
export function withHookNames<S extends Pick<ResolvedHarvestSettings, 'hook_names'>>(
  settings: S,
  { cfg }: Pick<HookedModel, 'cfg'>,
): S {
  return { ...settings, hook_names: expandHooks(cfg, settings.hook_names, { rowsOnly: true }) };
}

/** The settings of the forward pass: the same for a harvest and for a live source of the same settings. */
export function forwardOptions(
  settings: Pick<
    ResolvedHarvestSettings,
    'hook_names' | 'dtype' | 'batch_contexts' | 'exclude_special_tokens' | 'seqpos_slice'
  >,
  tokenizer: Pick<Tokenizer, 'specialIds' | 'hash'>,
  { contextSize }: Pick<Corpus, 'contextSize'>,
): ForwardOptions {
  const { stored, compute } = precisionOf(settings.dtype);
  return {
    hookNames: settings.hook_names,
    dtype: stored,
    compute,
    batchContexts: settings.batch_contexts,
    tokenizerHash: tokenizer.hash,
    rule: {
      contextSize,
      positions: slicePositions(settings.seqpos_slice, contextSize),
      excluded: excludedIds(settings.exclude_special_tokens, tokenizer),
    },
  };
}

function excludedIds(
  rule: boolean | readonly number[],
  { specialIds }: Pick<Tokenizer, 'specialIds'>,
): Set<number> {
  if (Array.isArray(rule)) return new Set<number>(rule);
  return rule ? new Set(specialIds) : new Set();
}
