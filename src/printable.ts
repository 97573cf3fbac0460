/**
 * @file What may be written to a person's terminal: text of files, hosts, tags and messages can hold escape sequences that
 * move the cursor, hide lines or set titles. Every control character but line end and tab becomes visible (`\x1b`), and so
 * do the marks that turn the direction of writing ("Trojan Source", CVE-2021-42574). One place cleans, at the stream:
 * {@link cleanLines}; what has to stay on one line goes through {@link printable} before it is put into it.
 */

/** The sequences that picocolors writes: our own colours. What else begins with ESC was in the data. */
// biome-ignore lint/complexity/useRegexLiterals: a literal may not hold control characters
const COLOURS = new RegExp('\u001b\\[(?:0|1|2|22|3[1-6]|39|90)m', 'g');

const isUnseen = (code: number) =>
  code < 32 ||
  (code >= 127 && code < 160) ||
  (code >= 0x202a && code <= 0x202e) ||
  (code >= 0x2066 && code <= 0x2069);

/** One line of text from anywhere, every control character made visible: line ends, tabs and colours, too. */
export function printable(text: string): string {
  return shown(text, () => false);
}

/** Text of several lines on its way to a terminal: line ends and tabs stay, and our own colours where they are on. */
export function cleanLines(text: string, colours: boolean): string {
  const keeps = (code: number) => code === 10 || code === 9;
  if (!colours) return shown(text, keeps);
  let [from, out] = [0, ''];
  for (const match of text.matchAll(COLOURS)) {
    out += shown(text.slice(from, match.index), keeps) + match[0];
    from = match.index + match[0].length;
  }
  return out + shown(text.slice(from), keeps);
}

/** JSON in which the rest of it is escaped, too: JSON.stringify leaves DEL, C1 and the marks of direction as they are. */
export function jsonText(value: unknown): string {
  return shown(
    JSON.stringify(value),
    () => false,
    (code) => `\\u${hex(code, 4)}`,
  );
}

function shown(text: string, keeps: (code: number) => boolean, written = visible): string {
  let [from, out] = [0, ''];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (!isUnseen(code) || keeps(code)) continue;
    out += text.slice(from, i) + written(code);
    from = i + 1;
  }
  return from === 0 ? text : out + text.slice(from);
}

const visible = (code: number) => (code < 256 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`);

const hex = (code: number, digits: number) => code.toString(16).padStart(digits, '0');
