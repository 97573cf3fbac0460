/**
 * @file How an evaluation leaves the program: evaluation.json, the table of `unfold evaluate`, per-token and per-latent
 * numbers as safetensors.
 */
import Table, { type TableConstructorOptions } from 'cli-table3';
import pc from 'picocolors';
import { UnfoldError } from '../errors.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-write.ts';
import { type MetricName, metricDefinitions, metricNames } from './definitions.ts';
import type { Evaluation } from './evaluate.ts';
import { tokenMetricNames } from './model-behaviour.ts';

/** What evaluation.json holds: metrics, their definitions, how many tokens, the histogram of densities. */
export function evaluationJson(
  evaluation: Evaluation,
  facts: Record<string, unknown> = {},
): Record<string, unknown> {
  const { metrics, definitions, tokens, density_histogram } = evaluation;
  return { kind: 'unfold.evaluation/1', ...facts, tokens, metrics, density_histogram, definitions };
}

/** Settings of cli-table3 for a table without lines: the eye finds columns by itself. */
export const bareTable: Pick<TableConstructorOptions, 'chars' | 'style'> = {
  chars: Object.fromEntries(
    ['top', 'bottom', 'left', 'right', 'mid'].flatMap((side) => [
      [side, ''],
      ...['mid', 'left', 'right'].map((part) => [`${side}-${part}`, '']),
      ...['mid', 'left', 'right'].map((part) => [`${part}-${side}`, '']),
      ['middle', ''],
    ]),
  ),
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
};

/** A table for a terminal: metric, value, meaning. */
export function evaluationTable({ metrics, tokens }: Evaluation): string {
  const table = new Table({
    head: ['metric', 'value', 'meaning'].map((text) => pc.bold(text)),
    ...bareTable,
    colWidths: [38, 13, 100],
    wordWrap: true,
  });
  for (const name of metricNames) {
    const value = metrics[name];
    if (value !== undefined) table.push([name, formatMetric(name, value), metricDefinitions[name].meaning]);
  }
  const note = `${tokens.counted.toLocaleString('en-US')} of ${tokens.total.toLocaleString('en-US')} tokens counted; exact definitions: --json`;
  return `${table.toString()}\n${pc.dim(note)}`;
}

/** Counts as integers, everything else with four digits behind the point. */
export function formatMetric(name: MetricName, value: number): string {
  return name.startsWith('n_') ? String(value) : value.toFixed(4);
}

/**
 * Writes every position's numbers, [contexts, length] float32 each (losses [contexts, length - 1], NaN where a position does
 * not count), under the metrics' names.
 * @throws UnfoldError `bad-evaluation` for contexts of unequal length
 */
export async function writePerToken(path: string, { per_token = [] }: Evaluation): Promise<void> {
  const length = per_token[0]?.length ?? 0;
  if (per_token.some((context) => context.length !== length)) {
    throw new UnfoldError('bad-evaluation', {
      where: path,
      expected: 'contexts of one length, to write them as one tensor',
      found: `lengths ${[...new Set(per_token.map((context) => context.length))].join(', ')}`,
      todo: 'evaluate contexts of equal length when asking for --per-token',
    });
  }
  const tensors = tokenMetricNames.map((name): [string, TensorToWrite] => {
    const width = name.startsWith('ce_') ? length - 1 : length;
    const data = Float32Array.from(
      per_token.flatMap((context) => context.slice(0, width).map((token) => token[name])),
    );
    return [name, { shape: [per_token.length, width], data }];
  });
  await writeSafetensors(path, new Map(tensors));
}

/** Writes what is known of every latent, [d_sae] float32 each. */
export async function writePerLatent(path: string, { latents, weights }: Evaluation): Promise<void> {
  const tensors = Object.entries({ ...latents, ...weights }).map(([name, data]): [string, TensorToWrite] => [
    name,
    { shape: [data.length], data },
  ]);
  await writeSafetensors(path, new Map(tensors));
}
