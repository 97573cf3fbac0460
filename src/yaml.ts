/**
 * @file Settings that somebody wrote as YAML (JSON is YAML, too): one reader for pipelines, sweeps, benchmarks and files of
 * --config, which says file:line:column of whatever is no plain data. Aliases and merge keys stand for what they name, as
 * far as that is there, does not hold itself and is not multiplied without end; tags, keys that are no words and anything
 * deeper than settings ever are, are refused.
 */
import {
  type Document,
  isAlias,
  isCollection,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml';
import { UnfoldError } from './errors.ts';
import { MOST_LEVELS, type Reading, readText } from './read.ts';

/** A parsed file, before validation. */
export interface YamlSource {
  /** As shown in messages. */
  path: string;
  document: Document;
  lines: LineCounter;
  /** Paths given by --set, which have no place in the file. */
  overridden: Set<string>;
}

/** Bytes of a file that a person wrote. */
const MOST_BYTES = 2 ** 24;
/** How often aliases may repeat what they name, all together. */
const MOST_ALIASES = 100;

/** Reads and parses. @throws UnfoldError as `reading` says it, `bad-yaml` with line and column */
export async function readYamlFile(path: string, reading: Reading): Promise<YamlSource> {
  return parseYaml(await readText(path, { most: MOST_BYTES, ...reading }), path);
}

/** Parses text that came from `path`. @throws UnfoldError `bad-yaml` with line and column */
export function parseYaml(text: string, path: string): YamlSource {
  refuseOtherText(text, path);
  refuseDeep(text, path);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, merge: true });
  const [complaint] = [...document.errors, ...document.warnings];
  if (complaint) {
    const found = complaint.message.split(' at line')[0]!;
    throw badYaml(placeAt(path, lines, complaint.pos[0]), found, complaint);
  }
  const source = { path, document, lines, overridden: new Set<string>() };
  refuseUnsound(source);
  return source;
}

/** The plain data of a source. @throws UnfoldError `bad-yaml` */
export function plainValue({ document, path }: YamlSource): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (cause) {
    throw badYaml(path, (cause as Error).message.split('\n')[0]!, cause);
  }
}

/** Offsets as people count them. */
export function placeAt(path: string, lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return line > 0 ? `${path}:${line}:${col}` : path;
}

function refuseOtherText(text: string, path: string): void {
  const at = text.search(/[\0\uFFFD]/);
  if (at < 0) return;
  const line = text.slice(0, at).split('\n').length;
  const found = text[at] === '\0' ? 'a NUL character (UTF-16, or no text)' : 'bytes that are not UTF-8';
  throw new UnfoldError('bad-yaml', {
    where: `${path}:${line}`,
    expected: 'text in UTF-8',
    found,
    todo: 'save it as UTF-8: iconv -f UTF-16 -t UTF-8',
  });
}

/**
 * At least as deep as the data are, from the text alone: brackets, indentation, and dashes on one line. The parser goes
 * down by calling itself, and a process whose stack is full can end without a word.
 */
function refuseDeep(text: string, path: string): void {
  const indents: number[] = [];
  let flow = 0;
  for (const [number, line] of text.split('\n').entries()) {
    const indent = line.search(/[^ ]/);
    if (indent < 0 || line[indent] === '#') continue;
    while (indents.length > 0 && indents.at(-1)! >= indent) indents.pop();
    indents.push(indent);
    const [compact, deepest, after] = levelsOfLine(line, flow);
    flow = after;
    if (Math.max(indents.length, compact, deepest) > MOST_LEVELS)
      throw badYaml(`${path}:${number + 1}`, `more than ${MOST_LEVELS} levels`);
  }
}

/** Lists begun at the start of a line, brackets open at most, and brackets open at its end. */
function levelsOfLine(line: string, open: number): [compact: number, deepest: number, after: number] {
  let [compact, deepest, depth, isLeading, inString] = [0, open, open, true, false];
  for (let i = 0; i < line.length; i++) {
    const character = line[i]!;
    if (isLeading && '-?:'.includes(character) && ' \t'.includes(line[i + 1] ?? ' ')) compact++;
    else if (character !== ' ' && character !== '\t') isLeading = false;
    if (character === '"') inString = !inString;
    else if (inString) continue;
    else if (character === '#' && ' \t'.includes(line[i - 1] ?? ' ')) break;
    else if (character === '[' || character === '{') deepest = Math.max(deepest, ++depth);
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1);
  }
  return [compact, deepest, depth];
}

/** A node that is still to be looked at, below these others. */
interface Visit {
  node: unknown;
  above: Visit | undefined;
  level: number;
}

/** Walks by a list, not by calls: what comes from a file may be as deep as it likes. */
function refuseUnsound(source: YamlSource): void {
  const { document, path, lines } = source;
  const refuse = (node: Node | undefined, found: string) => {
    throw badYaml(placeAt(path, lines, node?.range?.[0] ?? 0), found);
  };
  const waiting: Visit[] = [{ node: document.contents, above: undefined, level: 0 }];
  for (let visit = waiting.pop(); visit; visit = waiting.pop()) {
    const { node, level } = visit;
    const below = (inner: unknown) => waiting.push({ node: inner, above: visit, level: level + 1 });
    if (isPair(node)) {
      refuseKey(node.key, refuse);
      below(node.value);
      continue;
    }
    if (!isNode(node)) continue;
    if (level > 2 * MOST_LEVELS) refuse(node, `more than ${MOST_LEVELS} levels`);
    if (isCollection(node)) for (const item of node.items) below(item);
    if (!isAlias(node)) continue;
    const target = node.resolve(document);
    if (!target) refuse(node, `*${node.source}, and no &${node.source} before it`);
    for (let above = visit.above; above; above = above.above)
      if (above.node === target) refuse(node, `*${node.source} within &${node.source}: it would hold itself`);
  }
}

function refuseKey(key: unknown, refuse: (node: Node | undefined, found: string) => void): void {
  const value = isScalar(key) ? key.value : undefined;
  if (isAlias(key) || typeof value === 'string' || typeof value === 'number' || typeof value === 'symbol')
    return;
  refuse(isNode(key) ? key : undefined, 'a key that is not a name');
}

function badYaml(where: string, found: string, cause?: unknown): UnfoldError {
  return new UnfoldError('bad-yaml', {
    where,
    expected: 'settings in YAML',
    found,
    todo: 'mend the line; keys are indented by two spaces and followed by ": "',
    cause,
  });
}
