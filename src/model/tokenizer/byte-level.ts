/**
 * @file GPT-2's byte alphabet: every byte has a printable character, so that a vocabulary of bytes can be written as
 * text (Radford et al. 2019, `bytes_to_unicode` in OpenAI's encoder.py). Here only the way back, from token strings
 * to bytes and from bytes to text; encoding is the tokenizers library's.
 */

/** The 256 characters of the alphabet, by byte. Bytes that print stand for themselves, the rest follow U+0100. */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

const BYTE_OF = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

function byteCharacters(): string[] {
  const prints = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : 256 + moved++));
}

/**
 * The bytes a token string stands for. A string with a character outside the alphabet (an added token with a space
 * in it) counts as its own UTF-8, as in the tokenizers library.
 */
export function tokenBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF.get(token[i]!);
    if (byte === undefined) return new TextEncoder().encode(token);
    bytes[i] = byte;
  }
  return bytes;
}

/** UTF-8 to text; every maximal ill-formed part becomes one U+FFFD; a byte-order mark is text like any other. */
export function bytesToText(parts: readonly Uint8Array[]): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(join(parts));
}

/**
 * Text of bytes that may begin or end inside a character, for showing one token: well-formed characters as they are,
 * every other byte as `\xNN`.
 */
export function bytesToVisible(bytes: Uint8Array): string {
  let shown = '';
  for (let at = 0; at < bytes.length; ) {
    const length = wellFormedAt(bytes, at);
    if (length === 0) shown += `\\x${bytes[at]!.toString(16).padStart(2, '0')}`;
    else shown += bytesToText([bytes.subarray(at, at + length)]);
    at += Math.max(1, length);
  }
  return shown;
}

/** Length of the well-formed UTF-8 character at `at`, or 0. */
function wellFormedAt(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  const character = bytesToText([bytes.subarray(at, at + length)]);
  const whole = [...character].length === 1;
  const replaced = character === '\uFFFD' && !(length === 3 && lead === 0xef && bytes[at + 1] === 0xbf);
  return whole && !replaced ? length : 0;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
