/**
 * @file Gradients of the tfjs ops that the composites use. tfjs-core's build for Node carries no gradients at all (they
 * live in ES modules that Node cannot load beside it), so the ones needed here are registered here, in the same
 * formulas. Ops that are not in the table cannot be differentiated: tfjs says so by name.
 */
import * as tf from '@tensorflow/tfjs-core';

type Attrs = Record<string, unknown>;
type Input = () => tf.Tensor;
/** Gradients with respect to the inputs by name; `saved` are the saved inputs, then the saved outputs. */
type Rule = (dy: tf.Tensor, saved: tf.Tensor[], attrs: Attrs) => Record<string, Input>;

/** Sums `dy` over the axes along which an input of `shape` was broadcast. */
function unbroadcast(dy: tf.Tensor, shape: number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, dy.shape);
  return tf.reshape(axes.length ? tf.sum(dy, axes) : dy, shape);
}

/** dy with the axes that a reduction of `x` took away put back as 1. */
function unreduced(dy: tf.Tensor, x: tf.Tensor, attrs: Attrs): tf.Tensor {
  const axes = tf.util.parseAxisParam((attrs.axis ?? attrs.reductionIndices) as number | number[], x.shape);
  return tf.reshape(
    dy,
    x.shape.map((size, i) => (axes.includes(i) ? 1 : size)),
  );
}

/** A rule for y = f(x) by its derivative in terms of x, or of y where that is cheaper. */
const unary =
  (derivative: (saved: tf.Tensor) => tf.Tensor): Rule =>
  (dy, [saved]) => ({ x: () => tf.mul(dy, derivative(saved!)) });

const fromInput: Record<string, Rule> = {
  Square: unary((x) => tf.mul(x, 2)),
  Log: unary(tf.reciprocal),
  Log1p: unary((x) => tf.reciprocal(tf.add(x, 1))),
  Abs: unary(tf.sign),
  Relu: unary((x) => tf.step(x)),
  Sin: unary(tf.cos),
  Cos: unary((x) => tf.neg(tf.sin(x))),
  Softplus: unary(tf.sigmoid),
  Reciprocal: unary((x) => tf.neg(tf.reciprocal(tf.square(x)))),
  Erf: unary((x) => tf.mul(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI))),
};

const fromOutput: Record<string, Rule> = {
  Sqrt: unary((y) => tf.div(0.5, y)),
  Rsqrt: unary((y) => tf.mul(tf.mul(y, tf.square(y)), -0.5)),
  Exp: unary((y) => y),
  Tanh: unary((y) => tf.sub(1, tf.square(y))),
  Sigmoid: unary((y) => tf.mul(y, tf.sub(1, y))),
};

/** a and b broadcast against each other. */
const binary: Record<string, Rule> = {
  Add: (dy, [a, b]) => ({ a: () => unbroadcast(dy, a!.shape), b: () => unbroadcast(dy, b!.shape) }),
  Sub: (dy, [a, b]) => ({ a: () => unbroadcast(dy, a!.shape), b: () => unbroadcast(tf.neg(dy), b!.shape) }),
  Multiply: (dy, [a, b]) => ({
    a: () => unbroadcast(tf.mul(dy, b!), a!.shape),
    b: () => unbroadcast(tf.mul(dy, a!), b!.shape),
  }),
  RealDiv: (dy, [a, b]) => ({
    a: () => unbroadcast(tf.div(dy, b!), a!.shape),
    b: () => unbroadcast(tf.neg(tf.div(tf.mul(dy, a!), tf.square(b!))), b!.shape),
  }),
  Maximum: (dy, [a, b]) => ({
    a: () => unbroadcast(tf.mul(dy, tf.cast(tf.greaterEqual(a!, b!), 'float32')), a!.shape),
    b: () => unbroadcast(tf.mul(dy, tf.cast(tf.less(a!, b!), 'float32')), b!.shape),
  }),
  Minimum: (dy, [a, b]) => ({
    a: () => unbroadcast(tf.mul(dy, tf.cast(tf.lessEqual(a!, b!), 'float32')), a!.shape),
    b: () => unbroadcast(tf.mul(dy, tf.cast(tf.greater(a!, b!), 'float32')), b!.shape),
  }),
  SquaredDifference: (dy, [a, b]) => ({
    a: () => unbroadcast(tf.mul(dy, tf.mul(tf.sub(a!, b!), 2)), a!.shape),
    b: () => unbroadcast(tf.mul(dy, tf.mul(tf.sub(b!, a!), 2)), b!.shape),
  }),
  BatchMatMul: (dy, [a, b], { transposeA, transposeB }) =>
    matMulGradient(dy, a!, b!, !!transposeA, !!transposeB),
};

/** d(AB) with either side possibly transposed; leading axes may have been broadcast. */
function matMulGradient(
  dy: tf.Tensor,
  a: tf.Tensor,
  b: tf.Tensor,
  tA: boolean,
  tB: boolean,
): Record<string, Input> {
  const da = () => (tA ? tf.matMul(b, dy, tB, true) : tf.matMul(dy, b, false, !tB));
  const db = () => (tB ? tf.matMul(dy, a, true, tA) : tf.matMul(a, dy, !tA, false));
  return { a: () => unbroadcast(da(), a.shape), b: () => unbroadcast(db(), b.shape) };
}

/** Changes of shape and reductions, from the input x. */
const fromX: Record<string, Rule> = {
  Sum: (dy, [x], attrs) => ({ x: () => tf.mul(unreduced(dy, x!, attrs), tf.onesLike(x!)) }),
  Mean: (dy, [x], attrs) => ({
    x: () => tf.mul(unreduced(dy, x!, attrs), tf.fill(x!.shape, dy.size / x!.size)),
  }),
  Reshape: (dy, [x]) => ({ x: () => tf.reshape(dy, x!.shape) }),
  Cast: (dy) => ({ x: () => tf.cast(dy, 'float32') }),
  Identity: (dy) => ({ x: () => tf.clone(dy) }),
  Neg: (dy) => ({ x: () => tf.neg(dy) }),
  Transpose: (dy, _saved, { perm }) => ({
    x: () => tf.transpose(dy, tf.backend_util.getUndoAxesPermutation(perm as number[])),
  }),
  Slice: (dy, [x], { begin, size }) => ({ x: () => pad(dy, x!.shape, begin as number[], size as number[]) }),
  Tile: (dy, [x], { reps }) => ({ x: () => untile(dy, x!.shape, reps as number[]) }),
  PadV2: (dy, [x], { paddings }) => ({
    x: () =>
      tf.slice(
        dy,
        (paddings as [number, number][]).map(([before]) => before),
        x!.shape,
      ),
  }),
  ClipByValue: (dy, [x], { clipValueMin, clipValueMax }) => ({
    x: () => {
      const inside = tf.logicalAnd(
        tf.greaterEqual(x!, clipValueMin as number),
        tf.lessEqual(x!, clipValueMax as number),
      );
      return tf.where(inside, dy, tf.zerosLike(dy));
    },
  }),
  GatherV2: (dy, [x, indices], { axis, batchDims }) => ({
    x: () => ungather(dy, x!, indices!, (axis as number) ?? 0, (batchDims as number) ?? 0),
    indices: () => tf.zerosLike(indices!),
  }),
};

function pad(dy: tf.Tensor, shape: number[], begin: number[], size: number[]): tf.Tensor {
  const starts = begin.map((b, i) => (b < 0 ? b + shape[i]! : b));
  return tf.pad(
    dy,
    starts.map((b, i): [number, number] => [b, shape[i]! - b - (size[i]! < 0 ? shape[i]! - b : size[i]!)]),
  );
}

/** Tiles are [rep, size] along each axis: sums over the repetitions. */
function untile(dy: tf.Tensor, shape: number[], reps: number[]): tf.Tensor {
  const split = tf.reshape(
    dy,
    shape.flatMap((size, i) => [reps[i]!, size]),
  );
  return tf.sum(
    split,
    shape.map((_, i) => 2 * i),
  );
}

/** Rows of dy are added where they were gathered from. */
function ungather(
  dy: tf.Tensor,
  x: tf.Tensor,
  indices: tf.Tensor,
  axis: number,
  batchDims: number,
): tf.Tensor {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  if (along !== 0 || batchDims !== 0)
    throw new Error('internal: the gradient of gather is for axis 0 without batch dimensions');
  const rows = tf.reshape(dy, [indices.size, ...x.shape.slice(1)]);
  return tf.unsortedSegmentSum(rows, tf.reshape(indices, [indices.size]) as tf.Tensor1D, x.shape[0]!);
}

/** The largest or smallest elements share dy as tfjs does: each equal one gets all of it. */
const extremum: Rule = (dy, [x, y], attrs) => ({
  x: () => {
    const chosen = tf.equal(x!, unreduced(y!, x!, attrs));
    return tf.mul(unreduced(dy, x!, attrs), tf.cast(chosen, 'float32'));
  },
});

/** Softmax by its output. */
const softmax: Rule = (dy, [y], attrs) => ({
  logits: () => {
    const weighted = tf.mul(dy, y!);
    return tf.sub(weighted, tf.mul(tf.sum(weighted, (attrs.dim as number) ?? -1, true), y!));
  },
});

const select: Rule = (dy, [condition, t, e]) => ({
  condition: () => tf.cast(tf.zerosLike(condition!), 'float32'),
  t: () => unbroadcast(tf.where(condition! as tf.Tensor, dy, tf.zerosLike(dy)), t!.shape),
  e: () => unbroadcast(tf.where(condition! as tf.Tensor, tf.zerosLike(dy), dy), e!.shape),
});

function register(
  kernelName: string,
  rule: Rule,
  saves: { inputs?: string[]; outputs?: boolean; all?: boolean },
): void {
  // tfjs-node brings a full set with the union package; it stays.
  if (tf.getGradient(kernelName)) return;
  tf.registerGradient({
    kernelName,
    ...(saves.inputs && { inputsToSave: saves.inputs }),
    ...(saves.outputs && { outputsToSave: [true] }),
    ...(saves.all && { saveAllInputs: true }),
    gradFunc: (dy, saved, attrs) => rule(dy as tf.Tensor, saved, attrs as unknown as Attrs),
  });
}

const saveIndices = (name: string) => (name === 'GatherV2' ? ['x', 'indices'] : ['x']);
for (const [name, rule] of Object.entries({ ...fromInput, ...fromX }))
  register(name, rule, { inputs: saveIndices(name) });
for (const [name, rule] of Object.entries(fromOutput)) register(name, rule, { outputs: true });
for (const [name, rule] of Object.entries(binary)) register(name, rule, { inputs: ['a', 'b'] });
for (const name of ['Max', 'Min']) register(name, extremum, { inputs: ['x'], outputs: true });
register('Softmax', softmax, { outputs: true });
register('Select', select, { inputs: ['condition', 't', 'e'] });
register('ExpandDims', (dy, [x]) => ({ input: () => tf.reshape(dy, x!.shape) }), { inputs: ['input'] });
register('AddN', (dy, saved) => Object.fromEntries(saved.map((_, i) => [i, () => tf.clone(dy)])), {
  all: true,
});
register(
  'Concat',
  (dy, saved, { axis }) => {
    const along = tf.util.parseAxisParam(axis as number, saved[0]!.shape)[0]!;
    const parts = tf.split(
      dy,
      saved.map(({ shape }) => shape[along]!),
      along,
    );
    return Object.fromEntries(parts.map((part, i) => [i, () => part]));
  },
  { all: true },
);
register(
  'Pack',
  (dy, saved, { axis }) => {
    const parts = tf.unstack(dy, axis as number);
    return Object.fromEntries(saved.map((_, i) => [i, () => parts[i]!]));
  },
  { all: true },
);

// These have several outputs, so dy is a list.
for (const [kernelName, join] of [
  ['SplitV', tf.concat],
  ['Unpack', tf.stack],
] as const) {
  if (tf.getGradient(kernelName)) continue;
  tf.registerGradient({
    kernelName,
    gradFunc: (dy, _saved, attrs) => {
      const axis = (attrs as unknown as Attrs).axis as number;
      return { [kernelName === 'SplitV' ? 'x' : 'value']: () => join(dy as tf.Tensor[], axis) };
    },
  });
}

// Steps: their gradient is zero wherever it exists.
for (const kernelName of ['ZerosLike', 'OnesLike', 'Step', 'Sign', 'Floor', 'Ceil', 'Round']) {
  register(kernelName, (dy) => ({ x: () => tf.zerosLike(dy) }), {});
}
