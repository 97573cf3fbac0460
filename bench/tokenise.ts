/**
 * @file Claim: from files to packed contexts takes hardly longer than the tokenizers library takes for the encoding
 * alone. The library is given the same texts, in memory, twice: whole, as the documents are, and in the pieces that our
 * pipeline cuts (which the library encodes faster, so this is the harder comparison, and the one with the bound).
 * The pipeline's time includes reading, gunzip, UTF-8 checks, hashing, packing and the store, and its
 * cache of words is empty every time, while the library keeps its own. The three take turns.
 */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from 'tokenizers';
import { loadTokenizer } from '../src/model/tokenizer.ts';
import { openCorpus } from '../src/text/contexts.ts';
import { findDataset } from '../src/text/dataset.ts';
import { pieces } from '../src/text/formats/plain.ts';
import { type BenchLine, leastSeconds } from './line.ts';

const MODEL = 'checkpoints/novels-4l';
const DATASET = 'datasets/novels/{Burnett,Conrad,Kipling,Stevenson}_*';
const ROUNDS = 5;

export async function run(): Promise<BenchLine[]> {
  const { files } = await findDataset({ dataset: DATASET, format: 'auto' });
  const documents = await Promise.all(
    files.map(async ({ path }) => gunzipSync(await readFile(path)).toString()),
  );
  const cut = documents.flatMap((text) => [...pieces(text, true, true)].map((piece) => piece.text));
  const library = Tokenizer.fromFile(`${MODEL}/tokenizer.json`);
  const megabytes = documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;

  const alone = async (texts: string[]) => {
    const encodings = await library.encodeBatch(texts, { addSpecialTokens: false });
    return encodings.reduce((sum, encoding) => sum + encoding.getIds().length, 0);
  };
  const seconds = {
    whole: Number.POSITIVE_INFINITY,
    pieces: Number.POSITIVE_INFINITY,
    ours: Number.POSITIVE_INFINITY,
  };
  for (let round = 0; round < ROUNDS; round++) {
    const tokenizer = await loadTokenizer(MODEL);
    const ours = () => openCorpus({ dataset: DATASET }, tokenizer, { cacheDir: null });
    seconds.ours = Math.min(seconds.ours, await leastSeconds(1, ours));
    seconds.pieces = Math.min(seconds.pieces, await leastSeconds(1, () => alone(cut)));
    seconds.whole = Math.min(seconds.whole, await leastSeconds(1, () => alone(documents)));
  }
  const ratio = seconds.pieces / seconds.ours;
  const rate = (time: number) => rounded(megabytes / time);
  return [
    {
      name: 'tokenise',
      value: rounded(ratio),
      bound: 0.9,
      passed: ratio >= 0.9,
      unit: 'x',
      ratio_to:
        'speed of the tokenizers library alone on the same text in the same pieces (higher is better, bound is the least)',
      detail: {
        megabytes: rounded(megabytes),
        documents: documents.length,
        pieces: cut.length,
        pipeline_mb_per_second: rate(seconds.ours),
        library_on_pieces_mb_per_second: rate(seconds.pieces),
        library_on_whole_documents_mb_per_second: rate(seconds.whole),
        ratio_to_library_on_whole_documents: rounded(seconds.whole / seconds.ours),
      },
    },
  ];
}

const rounded = (x: number): number => Math.round(x * 1000) / 1000;
