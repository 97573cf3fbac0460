/**
 * @file The header of a safetensors file, read with suspicion: a length, then JSON that gives each tensor's type, shape
 * and byte range. The rules are those of huggingface/safetensors (`tensor.rs`): at most 100 MB of header, ranges that
 * fill the data exactly without overlap or gap, and sizes that match; beyond it, a name may occur only once.
 */
import { brief } from '../checked.ts';
import { type Lesson, UnfoldError } from '../errors.ts';
import { levelsOf, MOST_LEVELS } from '../read.ts';
import { type Dtype, dtypeBytes, isDtype } from './dtypes.ts';

/** Where a tensor lies: byte offsets are relative to the end of the header. */
export interface TensorInfo {
  name: string;
  dtype: Dtype;
  shape: number[];
  begin: number;
  end: number;
}

/** A checked header. */
export interface Header {
  /** In the order of the header. */
  tensors: Map<string, TensorInfo>;
  /** `__metadata__`: text to text. */
  metadata: Record<string, string>;
  /** Offset of the first data byte in the file. */
  dataStart: number;
}

/** The format's own limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/** An error about `where` (a file, or a tensor of one) whose remedy is to get the file again. */
export function badFile(
  where: string,
  lesson: Omit<Lesson, 'where' | 'todo'> & { todo?: string },
): UnfoldError {
  const todo = lesson.todo ?? 'download or save the file again, and compare its SHA-256 with the source';
  return new UnfoldError('bad-safetensors', { ...lesson, where, todo });
}

/**
 * The header's length from the first eight bytes of a file of `fileBytes` bytes.
 * @throws UnfoldError `bad-safetensors` for an impossible or hostile length; nothing is allocated before.
 */
export function headerLength(path: string, first: Uint8Array, fileBytes: number): number {
  if (fileBytes < 8 || first.length < 8) {
    throw badFile(path, {
      expected: 'a safetensors file: 8 bytes of header length first',
      found: `${fileBytes} bytes in all`,
    });
  }
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw badFile(path, {
      expected: `a header of at most ${MAX_HEADER_BYTES} bytes`,
      found: `a header length of ${length}`,
      todo: 'check that this is a safetensors file and not, for instance, a pickle; if so, download it again',
    });
  }
  if (length < 2n || length > BigInt(fileBytes - 8)) {
    const found = `a header length of ${length} in a file of ${fileBytes} bytes`;
    throw badFile(path, { expected: 'a header that fits into the file', found });
  }
  return Number(length);
}

/**
 * Parses and checks a header of `bytes` in front of `dataBytes` bytes of data.
 * @throws UnfoldError `bad-safetensors` that names the tensor.
 */
export function parseHeader(path: string, bytes: Uint8Array, dataBytes: number): Header {
  const text = decodeUtf8(path, bytes);
  const json = parseJson(path, text);
  const repeated = repeatedKey(text);
  if (repeated !== undefined) {
    throw badFile(`${path}: tensor ${repeated}`, {
      expected: 'one entry in the header',
      found: 'two entries of this name',
    });
  }
  const { __metadata__: metadata, ...entries } = json;
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(entries)) tensors.set(name, tensorInfo(path, name, entry));
  checkRanges(path, [...tensors.values()], dataBytes);
  return { tensors, metadata: textMap(path, metadata ?? {}), dataStart: 8 + bytes.length };
}

function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw badFile(path, { expected: 'a header in UTF-8', found: 'bytes that are not UTF-8', cause });
  }
}

function parseJson(path: string, text: string): Record<string, unknown> {
  if (levelsOf(text) > MOST_LEVELS)
    throw badFile(path, {
      expected: 'a JSON object as header',
      found: `brackets in more than ${MOST_LEVELS} levels`,
    });
  try {
    const json: unknown = JSON.parse(text);
    if (json !== null && typeof json === 'object' && !Array.isArray(json))
      return json as Record<string, unknown>;
  } catch (cause) {
    const found = `${JSON.stringify(text.slice(0, 60))} (${(cause as Error).message})`;
    throw badFile(path, { expected: 'a JSON object as header', found, cause });
  }
  throw badFile(path, { expected: 'a JSON object as header', found: JSON.stringify(text.slice(0, 60)) });
}

function textMap(path: string, metadata: unknown): Record<string, string> {
  const entries = metadata !== null && typeof metadata === 'object' ? Object.entries(metadata) : undefined;
  if (!entries?.every((entry): entry is [string, string] => typeof entry[1] === 'string')) {
    throw badFile(path, {
      expected: '__metadata__ that maps text to text',
      found: brief(metadata),
    });
  }
  return Object.fromEntries(entries);
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function tensorInfo(path: string, name: string, entry: unknown): TensorInfo {
  const where = `${path}: tensor ${name}`;
  const { dtype, shape, data_offsets: range } = (entry ?? {}) as Record<string, unknown>;
  if (!isDtype(dtype)) {
    throw badFile(where, {
      expected: `a dtype among ${Object.keys(dtypeBytes).join(', ')}`,
      found: brief(dtype),
    });
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw badFile(where, {
      expected: 'a shape of non-negative integers',
      found: brief(shape),
    });
  }
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isSize) || range[0]! > range[1]!) {
    throw badFile(where, { expected: 'data_offsets [begin, end]', found: brief(range) });
  }
  const [begin, end] = range as [number, number];
  const bytes = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
  if (bytes !== end - begin) {
    const expected = `${bytes} bytes for shape [${shape.join(', ')}] of ${dtype}`;
    throw badFile(where, { expected, found: `${end - begin} bytes (data_offsets ${begin} to ${end})` });
  }
  return { name, dtype, shape, begin, end };
}

/** Ranges in order of offset must follow each other from 0 to the end of the file. */
function checkRanges(path: string, tensors: TensorInfo[], dataBytes: number): void {
  let at = 0;
  let before = '';
  for (const { name, begin, end } of tensors.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    const where = `${path}: tensor ${name}`;
    if (end > dataBytes) {
      const found = `${dataBytes} bytes of data: the file is truncated, or the offset is wrong`;
      throw badFile(where, { expected: `data up to byte ${end}`, found });
    }
    if (begin !== at) {
      const found = begin < at ? `an overlap with ${before}` : `a gap of ${begin - at} bytes`;
      throw badFile(where, { expected: `data from byte ${at}`, found: `data from byte ${begin}: ${found}` });
    }
    at = end;
    before = name;
  }
  if (at !== dataBytes) {
    throw badFile(path, {
      expected: `${at} bytes of tensors`,
      found: `${dataBytes} bytes of data after the header`,
    });
  }
}

/** The first key that occurs twice in the outermost object; JSON.parse would silently keep the last. */
function repeatedKey(text: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (depth === 1 && token.endsWith(':')) {
      const key = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}
