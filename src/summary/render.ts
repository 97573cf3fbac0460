/**
 * @file The report at the end of a run, for the terminal and as Markdown: what was trained, how good it is beside what
 * is possible, what it found, what to do next.
 */
import pc from 'picocolors';
import { type MetricName, metricDefinitions } from '../evaluate/definitions.ts';
import { textTable } from '../table.ts';
import type { Feature } from './features.ts';
import type { Passage } from './passage.ts';
import type { Summary } from './summary.ts';

/** Metrics of the report's table, in its order. */
const SHOWN: readonly MetricName[] = [
  'explained_variance',
  'ce_loss_score',
  'kl_div_score',
  'ce_loss_with_sae',
  'ce_loss_without_sae',
  'l0',
  'l2_ratio',
  'frac_alive',
  'n_dense_over_10_percent',
];

/** For a terminal; colours where it has them. */
export function renderTerminal(summary: Summary): string {
  const reference = hasReference(summary);
  const head = ['metric', 'this run', ...(reference ? ['a good coder'] : []), 'meaning'];
  const table = textTable(head, tableRows(summary), {
    widths: reference ? [26, 11, 15, 80] : [26, 11, 95],
  });
  return [
    pc.bold(`${summary.title}`),
    wrap(summary.what),
    table,
    ...(summary.reference_note ? [pc.dim(wrap(`a good coder: ${summary.reference_note}`))] : []),
    wrap(summary.latents),
    '',
    pc.bold(`The ${summary.features.length} most interesting features`),
    pc.dim(wrap(summary.choice)),
    ...summary.features.map(terminalFeature),
    '',
    pc.bold('What to run next'),
    ...summary.next.map(({ command, meaning }) => `  ${pc.dim(`# ${meaning}`)}\n  ${pc.cyan(command)}`),
  ].join('\n');
}

/** summary.md */
export function renderMarkdown(summary: Summary): string {
  const head = ['metric', 'this run', ...(hasReference(summary) ? ['a good coder'] : []), 'meaning'];
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    `# ${summary.title}`,
    summary.what,
    [line(head), line(head.map(() => '---')), ...tableRows(summary).map(line)].join('\n'),
    ...(summary.reference_note ? [`A good coder: ${summary.reference_note}`] : []),
    summary.latents,
    `## The ${summary.features.length} most interesting features`,
    summary.choice,
    ...summary.features.map(markdownFeature),
    '## What to run next',
    `\`\`\`sh\n${summary.next.map(({ command, meaning }) => `# ${meaning}\n${command}`).join('\n')}\n\`\`\``,
    '',
  ].join('\n\n');
}

function hasReference(summary: Summary): boolean {
  return Object.keys(summary.reference).length > 0;
}

function tableRows(summary: Summary): string[][] {
  return SHOWN.filter((name) => summary.metrics[name] !== undefined).map((name) => {
    const reference = summary.reference[name];
    const cells = hasReference(summary) ? [reference === undefined ? '' : number(reference)] : [];
    return [name, number(summary.metrics[name]!), ...cells, metricDefinitions[name].meaning];
  });
}

function number(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) >= 10 ? 2 : 3);
}

function terminalFeature(feature: Feature): string {
  const examples = feature.examples.map((passage) => {
    const [space, token] = marked(passage);
    const shown = `${passage.before}${space}${pc.bold(pc.yellow(`[${token}]`))}${passage.after}`;
    return `   ${pc.dim(passage.activation.toFixed(2).padStart(7))}  ${shown}`;
  });
  const head = `${pc.bold(pc.green(`#${feature.latent}`))}  ${pc.dim(factsOf(feature))}`;
  return [`\n${head}`, ...examples].join('\n');
}

function markdownFeature(feature: Feature): string {
  const examples = feature.examples.map((passage) => {
    const [space, token] = marked(passage);
    const [before, inside, after] = [passage.before, token, passage.after].map(escaped);
    return `- ${passage.activation.toFixed(2)}: ${before}${space}**[${inside}]**${after}`;
  });
  return [`### ${feature.latent}`, factsOf(feature), examples.join('\n')].join('\n\n');
}

/** The token in front of whose bracket its leading space stands: `the [old] man`, not `the[ old] man`. */
function marked({ token }: Passage): [space: string, token: string] {
  const bare = token.trimStart();
  return bare === '' ? ['', token] : [token.slice(0, token.length - bare.length), bare];
}

function escaped(text: string): string {
  return text.replace(/[\\`*_<>[\]#|]/g, '\\$&');
}

function factsOf(feature: Feature): string {
  const promotes = feature.promoted_tokens?.map((token) => `"${token}"`).join(' ');
  const facts = [
    `fires on ${(100 * feature.density).toPrecision(2)}% of tokens`,
    `strongest ${feature.max_activation.toFixed(1)}`,
    ...(promotes ? [`promotes ${promotes}`] : []),
  ];
  return facts.join(' · ');
}

/** Words in lines of at most 110 characters. */
function wrap(text: string, width = 110): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1)!.length + word.length >= width) lines.push('');
    lines[lines.length - 1] += `${lines.at(-1) ? ' ' : ''}${word}`;
  }
  return lines.join('\n');
}
