/** @file The index of a model in shards: which tensor lies in which file of the same folder. */
import { z } from 'zod';
import { brief, checked } from '../checked.ts';
import { UnfoldError } from '../errors.ts';

const Index = z.object({ weight_map: z.record(z.string(), z.string()) });

const todo = 'download the model again';

/** Tensor names to names of files, each of them a plain name. @throws UnfoldError `bad-index` */
export function weightMapOf(json: unknown, where: string): Record<string, string> {
  const expected = 'a weight_map from tensor names to files in this folder';
  const { weight_map } = checked(Index, json, { where, kind: 'bad-index', expected, todo });
  const wrong = Object.entries(weight_map).find(([, file]) => !isPlainName(file));
  if (wrong === undefined) return weight_map;
  const found = `shards outside of it: ${brief(wrong[1])} for ${brief(wrong[0])}`;
  throw new UnfoldError('bad-index', { where, expected, found, todo });
}

const isPlainName = (name: string) => name !== '' && name !== '.' && name !== '..' && !/[\\/\0]/.test(name);
