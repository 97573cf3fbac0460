/**
 * @file The mean norm of a hook's rows, which activation normalisation is made of (SAELens's
 * `expected_average_only_in`: rows are scaled by sqrt(d_in) / mean norm). It is measured on the first blocks, always
 * the same ones, so that training from shards and training live scale alike to the last bit; the norm over all rows of
 * a harvest is in its manifest.
 */
import type { BlockSource } from './block-source.ts';
import { addRows, emptyStats, meanNorm } from './stats.ts';

/** A mean norm and the number of rows it was taken over. */
export interface NormEstimate {
  mean_norm: number;
  rows: number;
}

/**
 * Mean Euclidean norm of each hook's rows.
 * @param minRows blocks are read from the first on until they have given so many rows
 */
export async function meanNorms(source: BlockSource, minRows = 65_536): Promise<Map<string, NormEstimate>> {
  const stats = emptyStats(source.hooks);
  let rows = 0;
  for (let index = 0; index < source.blockRows.length && rows < minRows; index++) {
    const block = await source.readBlock(index);
    for (const [name, sums] of stats) addRows(sums, block.activations.get(name)!, block.rows);
    rows += block.rows;
  }
  return new Map([...stats].map(([name, sums]) => [name, { mean_norm: meanNorm(sums), rows: sums.rows }]));
}
