/** @file What reaches a terminal: text of others is made visible in one place, and no other file writes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { report } from '../../src/cli/report.ts';
import { liveOut, writeErr, writeForeign, writeJsonLine, writeOut } from '../../src/cli/streams.ts';
import { terminalContext } from '../../src/cli/terminal.ts';
import { UnfoldError } from '../../src/errors.ts';

const root = join(import.meta.dirname, '../..');

/** Sets a title, clears the screen, hides a line; C1, DEL, and a mark that turns the direction. */
const EVIL = '\x1b]0;title\x07\x1b[2J\rhidden\x9b1A\x7f\u202e';
const RAW = /(?!\n|\t)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;

/** What `use` writes to both streams. */
async function written(use: () => unknown): Promise<string> {
  let text = '';
  const keep = (chunk: unknown) => {
    text += String(chunk);
    return true;
  };
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation(keep),
  );
  try {
    await use();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return text;
}

test('only streams.ts writes to stdout and stderr', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
  const writers = files.filter((file) => {
    if (!file.endsWith('.ts')) return false;
    const code = readFileSync(join(root, 'src', file), 'utf8')
      .replace(/`(?:[^`\\]|\\.)*`/gs, '``') // programs for other processes
      .replace(/^\s*(\/\/|\/?\*).*$/gm, '');
    return /process\.std(out|err)\.(write|end|pipe)|process\.std(out|err)\s*[;,)]|console\.\w+\(|\bwriteSync\([12],/.test(
      code,
    );
  });
  expect(writers).toEqual(['cli/streams.ts']);
});

test.each([
  ['results', () => writeOut(`${EVIL}\n`)],
  ['text of a model', () => writeForeign(EVIL)],
  ['JSON', () => writeJsonLine({ [EVIL]: EVIL })],
  ['messages', () => writeErr(EVIL)],
  ['notes', () => terminalContext(new AbortController().signal).note(EVIL)],
  ['warnings', () => terminalContext(new AbortController().signal).warn(EVIL)],
  ['progress', () => terminalContext(new AbortController().signal).bar(EVIL, 2, EVIL).finish(EVIL)],
  ['lessons', () => report(lesson(), true, stopped(EVIL))],
  ['faults of ours', () => report(new Error(EVIL), true, stopped(EVIL))],
  [
    'what is true after a stop',
    () => report(new Error(EVIL), true, { ...stopped(EVIL), signal: AbortSignal.abort(new Error(EVIL)) }),
  ],
])('%s of others obey no terminal', async (_what, use) => {
  const text = await written(use);
  expect(text).toContain('hidden');
  expect(text).not.toMatch(RAW);
});

test('JSON says the same after it was made visible', async () => {
  const text = await written(() => writeJsonLine({ [EVIL]: [EVIL] }));
  expect(JSON.parse(text)).toEqual({ [EVIL]: [EVIL] });
});

test('a table that changes holds nothing of others either', async () => {
  const text = await written(async () => {
    const { draw, done } = await liveOut();
    draw(`a ${EVIL} b`);
    done();
  });
  expect(text).toContain('\\x1b]0;title\\x07\\x1b[2J\\x0dhidden\\x9b1A\\x7f\\u202e');
  expect(text).not.toContain('\x1b]0;');
  expect(text).not.toContain('\x1b[2J');
});

test('a line end in what was found cannot pass for another part of the lesson', () => {
  const { message } = new UnfoldError('x', {
    where: 'w',
    expected: 'e',
    found: 'f\n  to mend   rm -rf',
    todo: 't',
  });
  expect(message.split('\n').filter((line) => line.startsWith('  to mend'))).toEqual(['  to mend   t']);
});

test('unfold info, --help of a strange name and a mistyped option print no escapes', () => {
  const dir = mkdtempSync(join(tmpdir(), 'unfold-escapes-'));
  writeFileSync(join(dir, 'cfg.json'), JSON.stringify({ architecture: EVIL, d_in: 2, d_sae: 2 }));
  const lines = [['info', dir], ['inf\x1b[2Jo'], ['run', 'x\x9b2J.yaml', '--no\x1b[2Jne']];
  for (const line of lines) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/unfold.js'), ...line], {
      encoding: 'utf8',
    });
    expect(status, line.join(' ')).toBe(1);
    expect(stdout + stderr, line.join(' ')).not.toMatch(RAW);
  }
});

function lesson(): UnfoldError {
  return new UnfoldError('bad', { where: EVIL, expected: EVIL, found: EVIL, todo: EVIL });
}

function stopped(afterStop: string) {
  return { signal: new AbortController().signal, exitCode: () => 130, quiet: false, afterStop };
}
