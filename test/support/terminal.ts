/**
 * @file Commands on a pseudo-terminal, as a person at a keyboard has them: `script` of util-linux (Debian's bsdutils, which
 * every Debian has) makes the terminal and passes on what is typed; macOS has one with other options.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const unfold = join(import.meta.dirname, '../../bin/unfold.js');

/** A command at work on a terminal of its own. */
export interface OnTerminal {
  /** Everything that the terminal was sent so far, both streams. */
  screen(): string;
  /** Types; `\x03` is Ctrl-C. */
  type(keys: string): void;
  /** Waits until the screen holds it; the milliseconds since the start. */
  until(what: string | RegExp): Promise<number>;
  /** Exit code, and milliseconds from `type` to the end. */
  ended: Promise<{ code: number; seconds: number }>;
}

/** Starts `unfold` with these arguments; `before` is a shell's line that comes first. */
export function onTerminal(args: readonly string[], before = 'true'): OnTerminal {
  const line = [process.execPath, unfold, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn(
    'script',
    [
      '--quiet',
      '--flush',
      '--return',
      '--command',
      `stty cols 120 rows 40; ${before}; exec ${line}`,
      '/dev/null',
    ],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  let [text, typed] = ['', 0];
  const watchers = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
    for (const look of watchers) look();
  });
  const ended = new Promise<{ code: number; seconds: number }>((resolve) =>
    child.on('close', (code) => resolve({ code: code ?? -1, seconds: (performance.now() - typed) / 1000 })),
  );
  const start = performance.now();
  const sees = (what: string | RegExp) => (typeof what === 'string' ? text.includes(what) : what.test(text));
  return {
    screen: () => text,
    type(keys) {
      typed = performance.now();
      child.stdin.write(keys);
    },
    until: (what) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!sees(what)) return;
          watchers.delete(look);
          resolve(performance.now() - start);
        };
        watchers.add(look);
        void ended.then(() => reject(new Error(`ended without ${what}: ${text}`)));
        look();
      }),
    ended,
  };
}
