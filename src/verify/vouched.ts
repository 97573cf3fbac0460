/**
 * @file Files of ours that vouch for others: which they are, what each lists with size and SHA-256, and how what it lists
 * is made again. What counts is the content, not the name alone.
 */
import { basename, dirname } from 'node:path';
import { type FileRecord, recordsOf } from '../inventory.ts';

/** What a file vouches for. */
export interface Vouching {
  /** In words: "the stage train", "a harvest". */
  what: string;
  /** Relative to the folder of the file. */
  records: FileRecord[];
  /** How a damaged one is made again; `FILE` stands for its path. */
  again: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** One kind of file. */
interface Kind {
  is(name: string, fields: Fields): boolean;
  vouches(fields: Fields, name: string): Vouching;
}

const REMOVE = 'remove FILE and run the same';

const kinds: readonly Kind[] = [
  {
    is: (name, { kind }) => name === 'stage.json' && kind === 'unfold.stage/1',
    vouches: (fields) => ({
      what: `the stage ${String(fields.stage)}`,
      records: recordsOf(fields),
      again: `${REMOVE} unfold run again: it makes the stage ${String(fields.stage)} again, the others stay`,
    }),
  },
  {
    is: (name, { format }) => name === 'manifest.json' && format === 'unfold-shards-1',
    vouches: (fields) => ({
      what: 'a harvest',
      records: recordsOf(fields),
      again: `${REMOVE} unfold harvest again: only what is missing is made`,
    }),
  },
  {
    is: (name, { format }) => /^data-.*\.json$/.test(name) && format === 'unfold-shard-1',
    vouches: ({ file, bytes, sha256 }) => ({
      what: 'a shard',
      records: recordsOf({ files: [{ file, bytes, sha256 }] }),
      again: `${REMOVE} unfold harvest again: only this shard is made`,
    }),
  },
  {
    is: (name, { format }) => name === 'manifest.json' && /^unfold-(train|finetune)-1$/.test(String(format)),
    vouches: (fields) => ({
      what: 'a finished run',
      records: recordsOf(fields),
      again: `${REMOVE} unfold ${commandOf(fields)} again: it goes on from the last checkpoint to the same bytes`,
    }),
  },
  {
    is: (name, { format }) => name === 'state.json' && String(format).startsWith('unfold-train-state-'),
    vouches: (fields) => ({
      what: 'a checkpoint',
      records: recordsOf(fields),
      again:
        'remove the folder of the checkpoint: the run goes on from the one before, a finished one does not need it',
    }),
  },
  {
    is: (name, { format }) => name === 'manifest.json' && format === 'unfold-coders-1',
    vouches: (fields) => ({
      what: 'imported or exported coders',
      records: recordsOf(fields),
      again: 'remove the whole folder and run the same unfold import or export again',
    }),
  },
  {
    is: (name, { files, tokens }) =>
      name === 'evaluation.json' && Array.isArray(files) && tokens !== undefined,
    vouches: (fields) => ({
      what: 'an evaluation',
      records: recordsOf(fields),
      again: `${REMOVE} command again`,
    }),
  },
  {
    is: (_name, { kind }) => kind === 'unfold-tokens',
    vouches: (fields, name) => ({
      what: 'tokens in the cache',
      records: recordsOf({ files: [tokensOf(fields, name)] }),
      again: 'remove FILE: whoever needs the tokens makes them again',
    }),
  },
  {
    is: (name, { kind }) => name.endsWith('job.json') && kind === 'unfold.job-file/1',
    vouches: (fields) => ({
      what: `the job ${String(fields.stage)}`,
      records: recordsOf(fields),
      again: `${REMOVE} unfold enqueue ${String(fields.stage)} again`,
    }),
  },
  {
    is: (name, { format }) => name === 'sweep.json' && format === 'unfold-sweep-1',
    vouches: () => ({
      what: 'a sweep',
      records: [],
      again: `${REMOVE} unfold train --sweep again: finished coders stay`,
    }),
  },
  {
    is: (name, { format }) => name === 'synth.json' && format === 'unfold-synth-1',
    vouches: () => ({
      what: 'a synthetic benchmark',
      records: [],
      again: `${REMOVE} unfold synth again: finished coders stay`,
    }),
  },
  {
    is: (name, { format }) => name === 'superposition.json' && format === 'unfold-toy-1',
    vouches: (fields) => ({
      what: 'a toy model',
      records: recordsOf(fields),
      again: `${REMOVE} unfold synth --toy again`,
    }),
  },
  {
    is: (name, { run, settings }) => name === 'config.json' && run !== undefined && settings !== undefined,
    vouches: () => ({
      what: 'the settings of a run',
      records: [],
      again: `${REMOVE} command again: it writes its settings anew`,
    }),
  },
];

const commandOf = ({ format }: Fields) => (format === 'unfold-finetune-1' ? 'finetune' : 'train');

function tokensOf({ contexts, context_size, dtype, sha256 }: Fields, name: string): unknown {
  const width = dtype === 'uint16' ? 2 : 4;
  return {
    file: name.slice(0, -'.json'.length),
    bytes: Number(contexts) * Number(context_size) * width,
    sha256,
  };
}

/** What the file at `path` vouches for by its content; undefined if it is none of these. */
export function vouchedBy(path: string, content: unknown): Vouching | undefined {
  if (content === null || typeof content !== 'object' || Array.isArray(content)) return undefined;
  const fields = content as Fields;
  const name = basename(path);
  return kinds.find((kind) => kind.is(name, fields))?.vouches(fields, name);
}

/** How a file of this name is made again whose own content says nothing any more. */
export function againByName(path: string): string {
  const name = basename(path);
  if (name === 'stage.json') return `${REMOVE} unfold run again: it makes this stage again`;
  if (name === 'state.json' && /^step-\d+$/.test(basename(dirname(path))))
    return 'remove the folder of the checkpoint: the run goes on from the one before';
  if (/^data-.*\.json$/.test(name)) return `${REMOVE} unfold harvest again: only this shard is made`;
  return `${REMOVE} command again`;
}
