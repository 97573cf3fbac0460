/**
 * @file How an evaluation leaves the program: evaluation.json, the table of `unfold evaluate`, per-token and per-latent
 * numbers as safetensors.
 */
import pc from 'picocolors';
import { UnfoldError } from '../errors.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-write.ts';
import { textTable } from '../table.ts';
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

/** A table for a terminal: metric, value, meaning. */
export function evaluationTable({ metrics, tokens }: Evaluation): string {
  const rows = metricNames.flatMap((name) => {
    const value = metrics[name];
    return value === undefined ? [] : [[name, formatMetric(name, value), metricDefinitions[name].meaning]];
  });
  const table = textTable(['metric', 'value', 'meaning'], rows, { widths: [38, 13, 100] });
  const note = `${tokens.counted.toLocaleString('en-US')} of ${tokens.total.toLocaleString('en-US')} tokens counted; exact definitions: --json`;
  return `${table}\n${pc.dim(note)}`;
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
