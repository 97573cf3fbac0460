/**
 * @file Cross-layer transcoders (Lindsey et al., 2024; Ameisen et al., 2025, "Circuit Tracing"): the latents of layer s read
 * that layer's input and write to the outputs of all layers from s on, ŷ_t = Σ_{s ≤ t} a_s W_dec^{s→t} + b_dec_t. One coder
 * is the whole set: rows hold all layers side by side. Semantics are circuit-tracer's (`cross_layer_transcoder.py`); its file
 * layout is read and written by `formats/`. The optional skip path stands in SAELens's orientation, x W_skipᵀ.
 */

import { UnfoldError } from '../errors.ts';
import { rowNorms } from '../tensor/kernels/row-norms.ts';
import * as tf from '../tensor/tf.ts';
import { encodeLayer, tidyCode } from './activations/inference.ts';
import type { Architecture } from './architecture.ts';
import { Coder, type SparseActivations, type Weights } from './base.ts';
import { checkedConfig } from './checked-config.ts';
import { foldCltNorms, foldCltScales } from './clt-fold.ts';
import {
  type CltConfig,
  cltConfig,
  cltShapes,
  columns,
  decodeLayers,
  layersOf,
  ofLayer,
} from './clt-layout.ts';
import { cltTraining } from './clt-training-architecture.ts';
import { type Code, DenseCode, type SparseCode } from './code.ts';

/** Inference. x is [..., L · d_in], activations are [..., L · d_sae], outputs [..., L · d_out], layer by layer. */
export class CltCoder extends Coder<CltConfig> {
  #norms: tf.Tensor1D[] | undefined;

  override get inputWidth(): number {
    return this.cfg.n_layers * this.cfg.d_in;
  }

  override get outputWidth(): number {
    return this.cfg.n_layers * this.cfg.d_out;
  }

  override get latents(): number {
    return this.cfg.n_layers * this.cfg.d_sae;
  }

  override encode(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => tf.reshape(this.activate(this.#rowsOf(x)), [...x.shape.slice(0, -1), this.latents]));
  }

  protected override activate(rows: tf.Tensor2D): tf.Tensor2D {
    return tf.concat(
      this.encodeLayers(rows).map((code) => code.dense()),
      1,
    );
  }

  /** Bounded activations only (topk, groupmax): L · k a row, descending within each layer. */
  override encodeSparse(x: tf.Tensor): SparseActivations | undefined {
    const { activation, d_sae } = this.cfg;
    if (activation !== 'topk' && activation !== 'groupmax') return undefined;
    return tf.tidy(() => {
      const codes = this.encodeLayers(x) as SparseCode[];
      const indices = codes.map((code, layer) => tf.add(code.indices, tf.scalar(layer * d_sae, 'int32')));
      return {
        values: tf.concat(codes.map(({ values }) => values) as tf.Tensor2D[], 1),
        indices: tf.concat(indices as tf.Tensor2D[], 1),
      };
    });
  }

  override decode(acts: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const { d_sae } = this.cfg;
      const flat = tf.reshape(acts, [-1, this.latents]) as tf.Tensor2D;
      const codes = layersOf(this.cfg).map((layer) => new DenseCode(columns(flat, layer * d_sae, d_sae)));
      const outputs = tf.concat(this.decodeCodes(codes), 1);
      return tf.reshape(outputs, [...acts.shape.slice(0, -1), this.outputWidth]);
    });
  }

  override forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const outputs = this.decodeCodes(this.encodeLayers(x), x);
      return tf.reshape(tf.concat(outputs, 1), [...x.shape.slice(0, -1), this.outputWidth]);
    });
  }

  /** The code of each layer, from rows of all layers [..., L · d_in]. Their tensors belong to the caller. */
  encodeLayers(x: tf.Tensor): Code[] {
    return tidyCode(() => {
      const rows = this.#rowsOf(x);
      const { d_in } = this.cfg;
      return layersOf(this.cfg).map((layer) => this.encodeLayer(layer, columns(rows, layer * d_in, d_in)));
    });
  }

  /** The code of one layer, from that layer's rows [rows, d_in]. */
  encodeLayer(layer: number, rows: tf.Tensor2D): Code {
    const { activation, k, rescale_acts_by_decoder_norm } = this.cfg;
    return encodeLayer(rows, {
      activation,
      k,
      W_enc: this.#of('W_enc', layer),
      b_enc: this.#of('b_enc', layer),
      threshold: this.weights[ofLayer('threshold', layer)] as tf.Tensor1D | undefined,
      norms: rescale_acts_by_decoder_norm ? this.#normsOf(layer) : undefined,
    });
  }

  /** Each layer's output [rows, d_out] from each layer's code; with the skip path's share if the rows are given. */
  decodeCodes(codes: readonly Code[], x?: tf.Tensor): tf.Tensor2D[] {
    const { d_in, d_out, skip } = this.cfg;
    return tf.tidy(() => {
      const outputs = decodeLayers(codes, {
        d_out,
        W_dec: (layer) => this.#of('W_dec', layer),
        b_dec: (layer) => this.#of('b_dec', layer),
      });
      if (!skip || !x) return outputs;
      const rows = this.#rowsOf(x);
      return outputs.map((output, layer) => {
        const W_skip = this.#of<tf.Tensor2D>('W_skip', layer);
        return tf.add(
          output,
          tf.matMul(columns(rows, layer * d_in, d_in), W_skip, false, true),
        ) as tf.Tensor2D;
      });
    });
  }

  /**
   * One layer's output [rows, d_out] from the codes of all layers up to it; with the skip path's share if that layer's rows
   * are given. For running layer by layer, in the order of the model.
   */
  decodeTarget(codes: readonly Code[], target: number, input?: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const parts = codes
        .slice(0, target + 1)
        .map((code, source) => code.decode(this.decoder(source, target)));
      const output = tf.add(tf.addN(parts), this.#of<tf.Tensor1D>('b_dec', target)) as tf.Tensor2D;
      if (!this.cfg.skip || !input) return output;
      return tf.add(
        output,
        tf.matMul(input, this.#of<tf.Tensor2D>('W_skip', target), false, true),
      ) as tf.Tensor2D;
    });
  }

  /** W_dec^{source→target} [d_sae, d_out], a copy. `target` is at or after `source`. */
  decoder(source: number, target: number): tf.Tensor2D {
    const { d_out } = this.cfg;
    return columns(this.#of('W_dec', source), (target - source) * d_out, d_out);
  }

  override dispose(): void {
    tf.dispose(this.#norms);
    this.#norms = undefined;
    super.dispose();
  }

  #of<T extends tf.Tensor = tf.Tensor2D>(name: string, layer: number): T & tf.Tensor1D {
    return this.weights[ofLayer(name, layer)] as T & tf.Tensor1D;
  }

  #normsOf(layer: number): tf.Tensor1D {
    this.#norms ??= layersOf(this.cfg).map((source) =>
      tf.keep(tf.tidy(() => rowNorms(this.#of('W_dec', source)))),
    );
    return this.#norms[layer]!;
  }

  #rowsOf(x: tf.Tensor): tf.Tensor2D {
    const { inputWidth, cfg } = this;
    if (x.shape.at(-1) === inputWidth) return tf.reshape(x, [-1, inputWidth]);
    throw new UnfoldError('bad-rows', {
      where: 'input of the clt coder',
      expected: `rows of all ${cfg.n_layers} layers side by side: width ${cfg.n_layers} · ${cfg.d_in} = ${inputWidth}`,
      found: `a tensor of shape [${x.shape.join(', ')}]`,
      todo: `give it ${String((cfg.metadata.hook_names as string[] | undefined)?.join(', ') ?? 'the activations of all its input hooks')}, in this order`,
    });
  }
}

export const clt: Architecture = {
  name: 'clt',
  about: 'a cross-layer transcoder: latents read one layer and write to it and all later ones',
  schema: cltConfig,
  shapes: {},
  tensors: (cfg) => cltShapes(checkedConfig(cltConfig, cfg)),
  preActivationUnits: [],
  cannotFoldNorms: (cfg) => {
    const { activation, rescale_acts_by_decoder_norm } = checkedConfig(cltConfig, cfg);
    if (activation === 'relu' || activation === 'jumprelu') return undefined;
    if (activation !== 'groupmax' && rescale_acts_by_decoder_norm) return undefined;
    return 'the norms would change which latents are the largest';
  },
  foldNorms: (coder) => foldCltNorms(coder, create),
  foldScales: (coder, scales) => foldCltScales(coder, scales, create),
  create,
  training: cltTraining,
};

function create(cfg: unknown, weights: Weights): CltCoder {
  return new CltCoder(checkedConfig(cltConfig, cfg), weights);
}
