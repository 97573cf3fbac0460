/**
 * @file Packing, case by case, against SAELens's `concat_and_batch_sequences` (its documented behaviour worked out by
 * hand; BOS 999, beginning of a sequence 998, separator 997).
 */
import { describe, expect, test } from 'vitest';
import { type PackOptions, packer } from '../../src/text/pack.ts';
import golden from '../fixtures/text/packing.json' with { type: 'json' };

/** Packs documents; each may be given in pieces (an array of arrays). */
function pack(options: PackOptions, documents: number[][][]): number[][] {
  const contexts: number[][] = [];
  const into = packer(options, (context) => contexts.push([...context]));
  for (const document of documents)
    document.forEach((piece, i) => void into.push(Int32Array.from(piece), i === 0));
  into.end();
  return contexts;
}

const one = (...ids: number[]) => [ids];
const BOS = 999;
const SEQ = 998;
const SEP = 997;

const cases: [string, PackOptions, number[][][], number[][]][] = [
  [
    'documents follow one another and the rest is left out',
    { context_size: 5 },
    [one(1, 2, 3), one(4, 5, 6, 7, 8, 9, 10, 11)],
    [
      [1, 2, 3, 4, 5],
      [6, 7, 8, 9, 10],
    ],
  ],
  [
    'every context begins with BOS',
    { context_size: 5, beginBatch: BOS },
    [one(1, 2, 3, 4, 5, 6, 7, 8)],
    [
      [999, 1, 2, 3, 4],
      [999, 5, 6, 7, 8],
    ],
  ],
  [
    'BOS is not doubled',
    { context_size: 4, beginBatch: BOS },
    [one(999, 1, 2, 999, 3, 4, 5)],
    [
      [999, 1, 2, 999],
      [999, 3, 4, 5],
    ],
  ],
  [
    'a separator parts documents within a context',
    { context_size: 6, beginBatch: BOS, separator: SEP },
    [one(1, 2), one(3, 4, 5)],
    [[999, 1, 2, 997, 3, 4]],
  ],
  [
    'no separator where a document begins a context',
    { context_size: 3, beginBatch: BOS, separator: SEP },
    [one(1, 2), one(3, 4)],
    [
      [999, 1, 2],
      [999, 3, 4],
    ],
  ],
  [
    'BOS as separator, as SAELens defaults to, and not doubled',
    { context_size: 6, beginBatch: BOS, separator: BOS },
    [one(1, 2), one(3, 4, 5), one(999, 6, 7, 8)],
    [
      [999, 1, 2, 999, 3, 4],
      [999, 5, 999, 6, 7, 8],
    ],
  ],
  [
    'the beginning of a sequence goes in front of every document',
    { context_size: 7, beginSequence: SEQ },
    [one(1, 2), one(3, 4, 5)],
    [[998, 1, 2, 998, 3, 4, 5]],
  ],
  [
    'BOS, separator and beginning stand in this order',
    { context_size: 9, beginBatch: BOS, beginSequence: SEQ, separator: SEP },
    [one(1, 2), one(3, 4, 5)],
    [[999, 998, 1, 2, 997, 998, 3, 4, 5]],
  ],
  [
    'the beginning is not repeated where a document goes on in the next context',
    { context_size: 4, beginBatch: BOS, beginSequence: SEQ },
    [one(1, 2, 3, 4, 5)],
    [
      [999, 998, 1, 2],
      [999, 3, 4, 5],
    ],
  ],
  [
    'equal BOS and beginning are put once',
    { context_size: 4, beginBatch: BOS, beginSequence: BOS },
    [one(1, 2, 3), one(4, 5, 6)],
    [
      [999, 1, 2, 3],
      [999, 4, 5, 6],
    ],
  ],
  [
    'a prefix that does not fit is cut, and the beginning goes into the next context',
    { context_size: 4, beginBatch: BOS, beginSequence: SEQ, separator: SEP },
    [one(1), one(2, 3, 4)],
    [
      [999, 998, 1, 997],
      [999, 998, 2, 3],
    ],
  ],
  [
    'an empty document leaves no trace',
    { context_size: 4, beginBatch: BOS, separator: SEP },
    [one(1), one(), one(2)],
    [[999, 1, 997, 2]],
  ],
  [
    'an id of 0 is a BOS like any other',
    { context_size: 3, beginBatch: 0 },
    [one(1, 2, 3, 4)],
    [
      [0, 1, 2],
      [0, 3, 4],
    ],
  ],
  [
    'the shortest contexts that have room for a token',
    { context_size: 2, beginBatch: BOS },
    [one(7, 8)],
    [
      [999, 7],
      [999, 8],
    ],
  ],
];

describe('documents share contexts', () => {
  test.each(cases)('%s', (_name, options, documents, contexts) => {
    expect(pack(options, documents)).toEqual(contexts);
  });

  test('the pieces a document arrives in make no difference', () => {
    const options = { context_size: 5, beginBatch: BOS, beginSequence: SEQ, separator: SEP };
    const ids = Array.from({ length: 23 }, (_, i) => i + 1);
    const whole = pack(options, [[ids], [ids]]);
    for (let cut = 0; cut <= ids.length; cut++) {
      const cutUp = [ids.slice(0, cut), [], ids.slice(cut)];
      expect(pack(options, [cutUp, cutUp])).toEqual(whole);
    }
  });
});

const singles: typeof cases = [
  [
    'one context a document, short ones left out',
    { context_size: 4 },
    [one(1, 2, 3, 4, 5, 6), one(1, 2, 3), one(7, 8, 9, 10)],
    [
      [1, 2, 3, 4],
      [7, 8, 9, 10],
    ],
  ],
  [
    'BOS counts towards the length',
    { context_size: 4, beginBatch: BOS },
    [one(1, 2, 3), one(1, 2), one(4, 5, 6, 7)],
    [
      [999, 1, 2, 3],
      [999, 4, 5, 6],
    ],
  ],
  [
    'BOS is not doubled',
    { context_size: 4, beginBatch: BOS },
    [one(999, 1, 2, 3), one(999, 1, 2)],
    [[999, 1, 2, 3]],
  ],
  [
    'the beginning of a sequence comes before BOS in choice',
    { context_size: 3, beginBatch: BOS, beginSequence: SEQ },
    [one(1, 2, 3)],
    [[998, 1, 2]],
  ],
  ['an id of 0 is put like any other', { context_size: 3, beginBatch: 0 }, [one(1, 2, 3)], [[0, 1, 2]]],
  [
    'contexts of one token come from documents that have one',
    { context_size: 1 },
    [one(1, 2), one(), one(3)],
    [[1], [3]],
  ],
];

describe('documents are not concatenated', () => {
  test.each(singles)('%s', (_name, options, documents, contexts) => {
    expect(pack({ ...options, disableConcat: true }, documents)).toEqual(contexts);
  });
});

interface SaelensCase {
  options: {
    context_size: number;
    begin_batch_token_id: number | null;
    begin_sequence_token_id: number | null;
    sequence_separator_token_id: number | null;
    disable_concat_sequences: boolean;
  };
  documents: number[][];
  contexts: number[][];
}

test('120 random cases give the contexts that SAELens gives', () => {
  for (const { options, documents, contexts } of golden as SaelensCase[]) {
    const ours: PackOptions = {
      context_size: options.context_size,
      beginBatch: options.begin_batch_token_id ?? undefined,
      beginSequence: options.begin_sequence_token_id ?? undefined,
      separator: options.sequence_separator_token_id ?? undefined,
      disableConcat: options.disable_concat_sequences,
    };
    const found = pack(
      ours,
      documents.map((ids) => [ids]),
    );
    expect(found, JSON.stringify({ options, documents })).toEqual(contexts);
  }
});
