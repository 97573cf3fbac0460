import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer, type Tokenizer } from '../../src/model/tokenizer.ts';
import { kinshipIn } from '../../src/summary/kinship.ts';
import { logitEffects } from '../../src/summary/logit-effects.ts';
import { distinctExamples, passageOf } from '../../src/summary/passage.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import * as tf from '../../src/tensor/tf.ts';

let tokenizer: Tokenizer;
beforeAll(async () => {
  await useBackend();
  tokenizer = await loadTokenizer('checkpoints/novels-4l');
});

describe('a passage', () => {
  it('shows the token between what stands before and after it, on one line, without special tokens', async () => {
    const ids = [
      tokenizer.bosId!,
      ...(await tokenizer.encode('"Come in,"\nsaid the old man, and he opened the door.')),
    ];
    const position = tokenizer.pieces(ids).indexOf(' old');
    const passage = passageOf({ activation: 2, context: 0, position }, ids, tokenizer);
    expect(passage.token).toBe(' old');
    expect(passage.before + passage.token + passage.after).toContain('"Come in," said the old man, and he');
    expect(passage.before).not.toContain('endoftext');
  });

  it('is shown once when the same words occur in several contexts', () => {
    const rows = [
      [1, 2, 3, 4, 5, 6, 7, 8],
      [1, 2, 3, 4, 5, 6, 7, 9],
      [8, 7, 6, 5, 4, 3, 2, 1],
    ];
    const examples = rows.map((_, context) => ({ activation: 3 - context, context, position: 4 }));
    expect(distinctExamples(examples, (context) => rows[context]!).map(({ context }) => context)).toEqual([
      0, 2,
    ]);
  });
});

describe('direct effects on the logits', () => {
  // Three tokens, d_model 2; the gain doubles the second coordinate.
  const W_U = () => tf.tensor2d([1, 0, 0, 1, -1, -1], [3, 2]);
  const tensors: tf.Tensor[] = [];
  afterAll(() => tf.dispose(tensors));

  it('are the centred decoder row through the gain and the unembedding, largest first', () => {
    const [W_dec, unembedding, w] = [tf.tensor2d([3, 1, 0, 4], [2, 2]), W_U(), tf.tensor1d([1, 2])];
    tensors.push(W_dec, unembedding, w);
    // Row (3, 1) centred is (1, -1), with the gain (1, -2): logits 1, -2, 1. Row (0, 4): (-2, 2), (-2, 4): -2, 4, -2.
    const [first, second] = logitEffects(W_dec, [0, 1], { W_U: unembedding, w }, 2);
    expect(first!.promoted).toEqual([
      { token: 0, effect: 1 },
      { token: 2, effect: 1 },
    ]);
    expect(second!.promoted[0]).toEqual({ token: 1, effect: 4 });
    // Of values -2, 4, -2: fourth moment 96 over squared variance 64.
    expect(second!.kurtosis).toBeCloseTo(1.5, 6);
  });
});

describe('kinship', () => {
  it('is the mean cosine of centred embeddings', () => {
    // Centred at (0, 0): tokens 0 and 1 are at a right angle, 0 and 2 opposite.
    const W_E = tf.tensor2d([1, 0, 0, 1, -1, 0, 0, -1], [4, 2]);
    const kinship = kinshipIn(W_E);
    expect(kinship([0, 1])).toBeCloseTo(0, 12);
    expect(kinship([0, 2])).toBeCloseTo(-1, 12);
    expect(kinship([0, 1, 2])).toBeCloseTo(-1 / 3, 12);
    expect(kinship([3])).toBe(0);
    W_E.dispose();
  });
});
