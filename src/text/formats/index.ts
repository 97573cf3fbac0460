/** @file The text formats there are, and how a file's is told. A new format is a file here and a line below. */
import { open } from 'node:fs/promises';
import { arrow } from './arrow.ts';
import { csv, tsv } from './csv.ts';
import type { TextFormat } from './format.ts';
import { jsonLines } from './jsonl.ts';
import { parquet } from './parquet.ts';
import { plainText } from './plain.ts';

/** Every format, by the name that the `format` setting takes. */
export const FORMATS: readonly TextFormat[] = [plainText, jsonLines, csv, tsv, arrow, parquet];

/** The format whose ending the path has (`.gz` looked through), if any. */
export function formatByEnding(path: string): TextFormat | undefined {
  const name = path.toLowerCase().replace(/\.gz$/, '');
  return FORMATS.find(({ endings }) => endings.some((ending) => name.endsWith(ending)));
}

/** The format of a file: by name, by ending, or by its first bytes; what is nothing else is plain text. */
export async function formatOf(path: string, asked: string): Promise<TextFormat> {
  if (asked !== 'auto') return FORMATS.find(({ name }) => name === asked)!;
  return formatByEnding(path) ?? formatByMagic(await firstBytes(path));
}

function formatByMagic(magic: string): TextFormat {
  if (magic.startsWith('PAR1')) return parquet;
  return magic.startsWith('ARROW1') ? arrow : plainText;
}

async function firstBytes(path: string): Promise<string> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(6) });
    return buffer.subarray(0, bytesRead).toString('latin1');
  } finally {
    await handle.close();
  }
}
