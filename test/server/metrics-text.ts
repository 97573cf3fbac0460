/** @file Reads Prometheus's text format as strictly as a scraper does: no sample without HELP and TYPE before it. */

/** A sample. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** See the fields. */
export interface Metrics {
  types: Map<string, string>;
  samples: Sample[];
  /** The value of the one sample of this name with these labels (others may be there, too). */
  value(name: string, labels?: Record<string, string>): number | undefined;
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/** @throws Error that names the line which is wrong */
export function parseMetrics(text: string): Metrics {
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const line of text.split('\n').filter(Boolean)) {
    const [, about, name, rest] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (about === 'HELP') {
      if (helped.has(name!)) throw new Error(`second HELP: ${line}`);
      helped.add(name!);
    } else if (about === 'TYPE') {
      if (types.has(name!) || !['gauge', 'counter', 'histogram', 'summary'].includes(rest!))
        throw new Error(line);
      types.set(name!, rest!);
    } else samples.push(parseSample(line, types, helped, seen));
  }
  return {
    types,
    samples,
    value(name, labels = {}) {
      const found = samples.filter((sample) => {
        return (
          sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value)
        );
      });
      if (found.length > 1) throw new Error(`${found.length} samples of ${name} ${JSON.stringify(labels)}`);
      return found[0]?.value;
    },
  };
}

function parseSample(
  line: string,
  types: Map<string, string>,
  helped: Set<string>,
  seen: Set<string>,
): Sample {
  const [, name, inner = '', value] = SAMPLE.exec(line) ?? [];
  if (name === undefined) throw new Error(`no sample: ${line}`);
  const family = name.replace(/_(bucket|sum|count)$/, '');
  const known = [name, family].some((one) => types.has(one) && helped.has(one));
  if (!known) throw new Error(`no HELP and TYPE before: ${line}`);
  const labels = parseLabels(inner, line);
  const identity = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
  if (seen.has(identity)) throw new Error(`twice: ${line}`);
  seen.add(identity);
  const number = value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value);
  if (Number.isNaN(number) && value !== 'Nan' && value !== 'NaN') throw new Error(`no number: ${line}`);
  return { name, labels, value: number };
}

function parseLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  let at = 0;
  while (at < text.length) {
    const match = LABEL.exec(text);
    if (!match || match.index !== at) throw new Error(`labels: ${line}`);
    labels[match[1]!] = match[2]!.replace(/\\(["\\n])/g, (_, character) =>
      character === 'n' ? '\n' : character,
    );
    at = LABEL.lastIndex;
  }
  return labels;
}
