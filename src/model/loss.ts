/**
 * @file Next-token loss: entry i of a row is minus the log-probability of token i + 1 (nats). The logits are made and
 * used a few rows at a time, so that GPT-2's 50,257 columns never exist for a whole batch.
 */
import * as tf from '../tensor/tf.ts';
import { logitsOf } from './forward.ts';
import type { TokenBatch } from './tokens.ts';
import type { GPT2Weights } from './weights.ts';

/** Logits held at a time: 32 MB. */
const CHUNK_ELEMENTS = 1 << 23;

/**
 * Loss per token [batch, pos - 1]. `source` is the normalised final residual stream [batch, pos, d_model] with the
 * weights to make logits of, or the logits [batch, pos, d_vocab] themselves. Entries next to padding are 0.
 */
export function lossPerToken(source: tf.Tensor3D, tokens: TokenBatch, weights?: GPT2Weights): tf.Tensor2D {
  return tf.tidy(() => {
    const { batch, pos } = tokens;
    const width = source.shape[2];
    const rows = tf.reshape(tf.slice(source, [0, 0, 0], [batch, pos - 1, width]), [-1, width]) as tf.Tensor2D;
    const columns = weights ? weights.W_U.shape[0] : width;
    const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / columns));
    const targets = nextTokens(tokens);
    const parts: tf.Tensor1D[] = [];
    for (let start = 0; start < targets.length; start += step) {
      const some = targets.subarray(start, start + step);
      parts.push(
        tf.tidy(() => {
          const read = tf.slice(rows, [start, 0], [some.length, width]);
          return rowLosses((weights ? logitsOf(read, weights) : read) as tf.Tensor2D, some);
        }),
      );
    }
    const losses = tf.reshape(parts.length > 1 ? tf.concat(parts) : parts[0]!, [
      batch,
      pos - 1,
    ]) as tf.Tensor2D;
    const mask = lossMask(tokens);
    return mask ? tf.mul(losses, mask) : losses;
  });
}

/** Mean over the tokens that are predicted from and to real tokens. */
export function meanLoss(perToken: tf.Tensor2D, tokens: TokenBatch): tf.Scalar {
  return tf.tidy(() => {
    const mask = lossMask(tokens);
    return mask ? tf.div(tf.sum(perToken), tf.sum(mask)) : tf.mean(perToken);
  });
}

function rowLosses(logits: tf.Tensor2D, targets: Int32Array): tf.Tensor1D {
  const columns = logits.shape[1];
  const at = tf.tensor1d(
    Int32Array.from(targets, (id, row) => row * columns + id),
    'int32',
  );
  return tf.sub(tf.logSumExp(logits, 1), tf.gather(tf.reshape(logits, [-1]), at)) as tf.Tensor1D;
}

function nextTokens({ ids, batch, pos }: TokenBatch): Int32Array {
  return Int32Array.from({ length: batch * (pos - 1) }, (_, i) => {
    return ids[Math.floor(i / (pos - 1)) * pos + (i % (pos - 1)) + 1]!;
  });
}

/** [batch, pos - 1]: 1 where this token and the next are real. */
function lossMask({ mask, batch, pos }: TokenBatch): tf.Tensor2D | undefined {
  if (!mask) return undefined;
  const both = Float32Array.from({ length: batch * (pos - 1) }, (_, i) => {
    const at = Math.floor(i / (pos - 1)) * pos + (i % (pos - 1));
    return mask[at]! * mask[at + 1]!;
  });
  return tf.tensor2d(both, [batch, pos - 1]);
}
