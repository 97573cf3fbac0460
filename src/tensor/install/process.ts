/**
 * @file Runs another program for an installation step and keeps the end of what it says, which is what an error shows.
 */
import { spawn } from 'node:child_process';
import { delimiter, dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { shownText } from '../../shown-url.ts';

/** How a program ended. */
export interface Ended {
  /** Exit code; null if it was killed or could not be started. */
  code: number | null;
  stdout: string;
  /** The last lines of both streams, for messages. */
  tail: string;
}

/** Characters of output kept for a message. */
const TAIL = 4000;

/**
 * Runs a program to its end.
 * @param options `timeout` in milliseconds; `environment` is added to ours, `undefined` removes a variable; `onLine` is
 * given what it says, line by line, as it comes
 */
export function runProgram(
  program: string,
  args: readonly string[],
  options: {
    cwd?: string;
    timeout?: number;
    environment?: NodeJS.ProcessEnv;
    signal?: AbortSignal;
    onLine?: (line: string) => void;
  } = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      timeout: options.timeout,
      signal: options.signal,
      env: { ...cleanEnvironment(), ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let tail = '';
    const keep = (text: string) => {
      tail = (tail + text).slice(-TAIL);
    };
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout = (stdout + text).slice(-(1 << 20));
      keep(text);
    });
    child.stderr!.setEncoding('utf8').on('data', keep);
    if (options.onLine)
      for (const stream of [child.stdout!, child.stderr!]) createInterface(stream).on('line', options.onLine);
    child.on('error', (error) => {
      keep(error.message);
      if (child.pid === undefined) resolve({ code: null, stdout, tail: shownText(tail.trim()) });
    });
    child.on('close', (code) => resolve({ code, stdout, tail: shownText(tail.trim()) }));
  });
}

/** Our environment without what npm tells its own scripts, which would send a nested npm to the wrong project. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const confusing =
    /^(npm_(package|lifecycle|command)|npm_config_(local_prefix|global|prefix|workspace)|INIT_CWD)/;
  const kept = Object.entries(process.env).filter(([name]) => !confusing.test(name));
  return {
    ...Object.fromEntries(kept),
    PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`,
  };
}
