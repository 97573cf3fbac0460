/**
 * @file The library: everything the commands do, typed. A program chooses a backend once (`await useBackend()`), then
 * calls the same functions in the order of the flow: tokenise, harvest, train, evaluate, summarise. Tensors are tfjs
 * tensors; `tf` is exported so that a program uses the copy of tfjs that Unfold registered its kernels in.
 *
 * @example
 * ```ts
 * import { loadGPT2, loadTokenizer, useBackend } from 'unfold-sae';
 *
 * await useBackend();
 * const model = await loadGPT2('checkpoints/novels-4l');
 * const tokenizer = await loadTokenizer('checkpoints/novels-4l');
 * const ids = [...(await tokenizer.encode('It was a dark night'))];
 * const { cache } = model.runWithCache([[tokenizer.bosId!, ...ids]], { namesFilter: 'blocks.2.hook_resid_pre' });
 * console.log(cache.get('blocks.2.hook_resid_pre').shape);
 * ```
 */

export { CltCoder } from './coders/clt.ts';
export type { CltConfig } from './coders/clt-layout.ts';
// Coders and their training
export {
  type Architecture,
  architectures,
  Coder,
  type CoderConfig,
  CoderSet,
  foldActivationScale,
  foldDecoderNorms,
  foldWhitening,
  type LoadOptions,
  loadCoder,
  loadCoderSet,
  type SparseActivations,
  saveCoder,
  type Whitening,
} from './coders/coder.ts';
export { CrosscoderCoder } from './coders/crosscoder.ts';
export type { CrosscoderConfig } from './coders/crosscoder-config.ts';
export { encodeFile } from './coders/encode-file.ts';
export {
  type ConvertResult,
  type ExportOptions,
  exportCoders,
  type ImportOptions,
  importCoders,
} from './coders/formats/convert.ts';
export { describeSource } from './coders/formats/describe.ts';
export type {
  CoderEntry,
  CoderFormat,
  CoderSource,
  OpenOptions,
  StoredTensor,
} from './coders/formats/format.ts';
export { formats, openCoders } from './coders/formats/registry.ts';

export type { Objective } from './coders/objective.ts';
export { type Parameters, type StepResult, type StepSettings, TrainingCoder } from './coders/training.ts';
// What stages are given, and how they fail
export { type ProgressBar, type StageContext, silent } from './context.ts';
// The machine
export { type Diagnosis, diagnose, type Finding } from './doctor/doctor.ts';
export { type Lesson, UnfoldError } from './errors.ts';
// Evaluation and what to make of it
export { type MetricDefinition, metricDefinitions } from './evaluate/definitions.ts';
export { type EvaluateOptions, type Evaluation, evaluate } from './evaluate/evaluate.ts';
export { type CoderEvaluation, type EvaluateCoderOptions, evaluateCoder } from './evaluate/evaluate-coder.ts';
export { evaluateCoders } from './evaluate/evaluate-coders.ts';
export {
  evaluateLayers,
  evaluateLayersRows,
  type LayersEvaluation,
} from './evaluate/evaluate-layers.ts';
export { ReconstructionAccumulator } from './evaluate/reconstruction.ts';
export { SparsityAccumulator } from './evaluate/sparsity.ts';
export { type FinetuneOptions, type FinetuneResult, finetune } from './finetune/finetune.ts';
export { finetuneSettings } from './finetune/settings.ts';
// Activation rows
export { type HarvestOptions, type HarvestResult, harvest } from './harvest/harvest.ts';
export { liveSource } from './harvest/live.ts';
export { type HarvestSettings, harvestSchema } from './harvest/settings.ts';
export { actName } from './model/act-name.ts';
// The model
export { ActivationCache } from './model/activation-cache.ts';
export { type GenerateOptions, generate } from './model/generate.ts';
export { GPT2, gpt2SmallConfig, loadGPT2, randomGPT2 } from './model/gpt2.ts';
export {
  type HookFlags,
  hookLayer,
  hookNames,
  hookShape,
  hookWidth,
  stopLayerFor,
} from './model/hook-names.ts';
export type { HookFn, HookPoint, NameFilter } from './model/hooks.ts';
export { resolveModel } from './model/hub.ts';
export type { CacheOptions, ForwardOptions, RunOptions } from './model/model.ts';
export { type ProcessOptions, processWeights, standardProcessing } from './model/process-weights.ts';
export {
  openSafetensors,
  openTensorDirectory,
  readSafetensors,
  type TensorData,
} from './model/safetensors.ts';
export { writeSafetensors } from './model/safetensors-write.ts';
export { assertFits, type EncodeOptions, loadTokenizer, type Tokenizer } from './model/tokenizer.ts';
export { openStateDict } from './pickle/state-dict.ts';
export { openTorchFile } from './pickle/torch-file.ts';
// Whole flows
export {
  type PipelineOptions,
  type PipelineResult,
  planPipeline,
  readPipeline,
  runPipeline,
} from './pipeline/pipeline.ts';
export type { Pipeline } from './pipeline/schema.ts';
export type { Stage, StageManifest } from './pipeline/stage.ts';
export { Random, type RandomState } from './random.ts';
export type { ActivationBlock, BlockSource, HookWidth } from './shards/block-source.ts';
export { meanNorms } from './shards/norms.ts';
export { openShards, type ShardSource } from './shards/reader.ts';
export { type RowBatch, type RowStream, type ShuffleOptions, shuffledRows } from './shards/shuffle.ts';
export { type Summary, type SummaryOptions, summarise } from './summary/summary.ts';
// Known features
export { presets, syntheticModelSchema } from './synth/config.ts';
export { evaluateOnFeatures, type SyntheticEvaluation } from './synth/evaluate.ts';
export { SyntheticModel, syntheticSource } from './synth/source.ts';
export { superposition, type ToyResult } from './synth/superposition.ts';
export {
  type SynthCoderOptions,
  type SynthCoderResult,
  type SynthResult,
  synth,
  synthCoder,
} from './synth/synth.ts';
export { runToy } from './synth/toy.ts';
export {
  type BackendChoice,
  type BackendName,
  closeBackend,
  currentBackend,
  useBackend,
} from './tensor/backend.ts';
// Tensors and where they live
export { inBfloat16 } from './tensor/bfloat16.ts';
export { installTensorFlow } from './tensor/install/tensorflow.ts';
export { installWebGpu } from './tensor/install/webgpu.ts';
export * as kernels from './tensor/kernels/index.ts';
export { type Screening, screeningCounts, screeningInfo, setScreening } from './tensor/screening.ts';
export { measureSgemm, type SgemmShape, type SgemmSpeed } from './tensor/sgemm.ts';
export * as tf from './tensor/tf.ts';
// Text
export { type Corpus, type CorpusOptions, corpusOf, openCorpus } from './text/contexts.ts';
export { findDataset, namedDatasets } from './text/dataset.ts';
export { packer } from './text/pack.ts';
export { type CorpusSpec, corpusSpecSchema } from './text/spec.ts';
export { tokeniseFile, tokeniseStream, tokeniseText } from './text/tokenise.ts';
export type { Calibration } from './train/calibrate.ts';
export { OPTIMIZERS } from './train/optimizer.ts';
export { createTrainingCoder } from './train/run.ts';
export { type TrainSettings, trainSettings } from './train/settings.ts';
export { type SweepManifest, type SweepOptions, type SweepResult, trainSweep } from './train/sweep.ts';
export { expandSweep, type SweepInput } from './train/sweep-file.ts';
export { type TrainOptions, type TrainResult, train } from './train/train.ts';
