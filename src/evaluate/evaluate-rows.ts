/**
 * @file Evaluates a coder on stored activations, without a model: reconstruction and sparsity only.
 */
import { outputWidth } from '../coders/config.ts';
import { breathe, type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import type { BlockSource } from '../shards/block-source.ts';
import { type CoderHooks, hooksOf } from './coder-hooks.ts';
import { passThrough } from './coder-pass.ts';
import { definitionsOf } from './definitions.ts';
import { type Evaluation, factsOf, noneCounted, summaryLine } from './evaluate.ts';
import { ReconstructionAccumulator } from './reconstruction.ts';
import { SparsityAccumulator } from './sparsity.ts';
import { countedBlocks, type RowChoice } from './stored-rows.ts';
import { weightStatistics } from './weights.ts';

/**
 * Evaluates on stored activations, without a model: reconstruction and sparsity only.
 * @throws UnfoldError `bad-evaluation` when no row counts
 * @param source rows of one of the hooks that `coder` reads, and of the one it writes
 */
export async function evaluateRows(
  {
    coder,
    source,
    exclusions,
    context_size,
    max_rows,
    ...hooks
  }: CoderHooks & RowChoice & { source: BlockSource },
  context: StageContext = silent(),
): Promise<Evaluation> {
  const { hookIn, hookOut } = hooksOf({ coder, ...hooks });
  const reconstruction = new ReconstructionAccumulator(outputWidth(coder.cfg));
  const sparsity = new SparsityAccumulator(coder.cfg.d_sae);
  const bar = context.bar('evaluate', source.blockRows.length, 'blocks');
  let looked = 0;
  for await (const { block, index, total } of countedBlocks(source, { exclusions, context_size, max_rows })) {
    await breathe(context);
    const pass = passThrough(coder, rowsOf(block.activations, hookIn), block.rows);
    reconstruction.add(rowsOf(block.activations, hookOut), pass.xhat, block.rows);
    sparsity.add(pass.acts, block.seqId);
    looked = total;
    bar.update(index + 1);
  }
  if (sparsity.rows === 0) throw noneCounted(looked);
  const metrics = { ...reconstruction.result(), ...sparsity.result() };
  bar.update(source.blockRows.length, undefined, factsOf(metrics));
  bar.finish(summaryLine(metrics));
  return {
    metrics,
    definitions: definitionsOf(metrics),
    tokens: { contexts: source.blockRows.length, total: looked, counted: sparsity.rows },
    density_histogram: sparsity.histogram(),
    latents: sparsity.latents(),
    weights: weightStatistics(coder),
  };
}

/** A hook's rows in a block. @throws UnfoldError `unknown-hook` */
export function rowsOf(activations: ReadonlyMap<string, Float32Array>, hook: string): Float32Array {
  const rows = activations.get(hook);
  if (rows) return rows;
  throw new UnfoldError('unknown-hook', {
    where: 'activation shards',
    expected: `rows of ${hook}, which the coder needs`,
    found: [...activations.keys()].join(', '),
    todo: `harvest that hook: unfold harvest --hook-name ${hook} …`,
  });
}
