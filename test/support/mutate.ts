/**
 * @file Damages files as disks, copies, editors and attackers do: seeded, so that whatever a trial finds can be had again
 * from its seed. {@link mutate} makes one damage; {@link describeMutation} is what a report calls it.
 */
import type { Random } from '../../src/random.ts';

/** Ways to damage bytes; each keeps everything that it does not name. */
export const MUTATIONS = ['truncate', 'flip', 'zero', 'delete', 'double', 'splice', 'huge'] as const;
export type MutationKind = (typeof MUTATIONS)[number];

/** A damage: where it begins and how many bytes it concerns. */
export interface Mutation {
  kind: MutationKind;
  at: number;
  length: number;
}

/** Numbers that no honest count, offset or size has: as int32, as int64, as float64. */
const HUGE: readonly Buffer[] = [
  Buffer.from([0xff, 0xff, 0xff, 0x7f]),
  Buffer.from([0x00, 0x00, 0x00, 0x80]),
  Buffer.from([0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0x00, 0x00, 0x00, 0x40]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
  Buffer.from([0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00]),
];
/** The same where numbers are written as digits. */
const HUGE_DIGITS = ['2147483648', '9007199254740993', '1e308', '-1', '0.5'];

/** One damaged copy of `bytes` (at least one of them), and what was done. */
export function mutate(
  bytes: Uint8Array,
  random: Random,
  kind: MutationKind = MUTATIONS[random.below(MUTATIONS.length)]!,
): { bytes: Buffer; mutation: Mutation } {
  const size = bytes.length;
  const at = random.below(Math.max(1, size));
  const length = 1 + random.below(Math.min(64, Math.max(1, size - at)));
  return { bytes: Buffer.concat(DAMAGES[kind](bytes, at, length, random)), mutation: { kind, at, length } };
}

/** `flip of 1 at byte 1234`. */
export const describeMutation = ({ kind, at, length }: Mutation): string =>
  `${kind} of ${length} at byte ${at}`;

type Damage = (bytes: Uint8Array, at: number, length: number, random: Random) => Uint8Array[];

const DAMAGES: Readonly<Record<MutationKind, Damage>> = {
  truncate: (bytes, at) => [bytes.subarray(0, at)],
  flip: (bytes, at, _length, random) => {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[at]! ^= 1 << random.below(8);
    return [copy];
  },
  zero: (bytes, at, length) => replaced(bytes, at, length, Buffer.alloc(length)),
  delete: (bytes, at, length) => replaced(bytes, at, length, Buffer.alloc(0)),
  double: (bytes, at, length) => replaced(bytes, at, 0, bytes.subarray(at, at + length)),
  splice: (bytes, at, length, random) => {
    const from = random.below(Math.max(1, bytes.length));
    return replaced(bytes, at, length, bytes.subarray(from, from + length));
  },
  huge: (bytes, at, _length, random) => {
    const digits = numbersNear(bytes, at);
    if (digits) return replaced(bytes, digits.at, digits.length, Buffer.from(pick(HUGE_DIGITS, random)));
    const number = pick(HUGE, random);
    return replaced(bytes, at - (at % 4), number.length, number);
  },
};

const pick = <T>(from: readonly T[], random: Random): T => from[random.below(from.length)]!;

function replaced(bytes: Uint8Array, at: number, length: number, by: Uint8Array): Uint8Array[] {
  return [bytes.subarray(0, at), by, bytes.subarray(Math.min(bytes.length, at + length))];
}

/** The number in decimal digits nearest behind `at`, if the bytes there are text. */
function numbersNear(bytes: Uint8Array, at: number): { at: number; length: number } | undefined {
  const text = Buffer.from(bytes.subarray(at, at + 200)).toString('latin1');
  const found = /^[\t\n\r -~]*?(\d+)/.exec(text);
  if (!found) return undefined;
  return { at: at + found[0].length - found[1]!.length, length: found[1]!.length };
}
