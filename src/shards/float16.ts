/**
 * @file IEEE 754 half precision for the float16 columns of shards. Node 20 has no Float16Array, so halves travel as
 * Uint16Array. The native addon converts with the machine's own instructions when it is there; the plain versions
 * below give the same bits (rounding to nearest, ties to even) and stay as its judge.
 */
import { nativeAddon } from '../tensor/native.ts';
/** The largest float32 that still rounds to a finite half is just below this: 65504 plus half a unit. */
export const HALF_OVERFLOW = 65520;

/** Rounds float32 values to halves, into `into` or a new array. */
export function toHalf(
  values: Float32Array,
  into: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  const addon = nativeAddon();
  if (addon) addon.f32ToF16(values, into, values.length);
  else toHalfPlain(values, into);
  return into;
}

/** Widens halves to float32 (exact), into `into` or a new array. */
export function fromHalf(
  halves: Uint16Array,
  into: Float32Array = new Float32Array(halves.length),
): Float32Array {
  const addon = nativeAddon();
  if (addon) addon.f16ToF32(halves, into, halves.length);
  else fromHalfPlain(halves, into);
  return into;
}

/** {@link toHalf} in TypeScript. */
export function toHalfPlain(values: Float32Array, into: Uint16Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) into[i] = halfBits(bits[i]!);
}

/** {@link fromHalf} in TypeScript: a table of all 65,536 halves. */
export function fromHalfPlain(halves: Uint16Array, into: Float32Array): void {
  table ??= widened();
  for (let i = 0; i < halves.length; i++) into[i] = table[halves[i]!]!;
}

let table: Float32Array | undefined;

function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x38800000) {
    // Normal: re-bias the exponent and round at bit 13; a carry runs into the exponent, and at the top into infinity.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign;
  // Subnormal: the value is mantissa * 2^(exponent - 150) and a half's unit is 2^-24.
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return sign | (kept + (rest > middle || (rest === middle && kept & 1) ? 1 : 0));
}

function widened(): Float32Array {
  return Float32Array.from({ length: 65536 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 31;
    const mantissa = half & 1023;
    if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return sign * (exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24);
  });
}
