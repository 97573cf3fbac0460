/** @file `unfold tokenise`: what it prints, and what it refuses. */
import { expect, test } from 'vitest';
import command from '../../src/cli/commands/tokenise.ts';
import { buildProgram } from '../../src/cli/main.ts';
import { silent } from '../../src/context.ts';

async function run(
  options: Record<string, unknown>,
  json = true,
): Promise<{ emitted: unknown[]; printed: string }> {
  const emitted: unknown[] = [];
  let printed = '';
  const print = (text: string) => {
    printed += `${text}\n`;
  };
  const context = silent();
  const emit = (value: unknown) => void emitted.push(value);
  const io = { context, json, leaveQuietly: () => context.signal, print, emit };
  await command.run([], { model: 'checkpoints/novels-4l', limit: 100, ...options }, io);
  return { emitted, printed };
}

test('--json gives ids, pieces and counts in one object', async () => {
  const { emitted } = await run({ text: 'Once upon a time' });
  const pieces = ['On', 'ce', ' upon', ' a', ' time'];
  expect(emitted).toEqual([{ ids: [2274, 326, 632, 258, 626], pieces, n_tokens: 5, n_characters: 16 }]);
});

test('--special and --prepend-bos change what they say', async () => {
  const ids = async (options: object) =>
    ((await run({ text: 'x<|endoftext|>y', ...options })).emitted[0] as { ids: number[] }).ids;
  expect(await ids({ special: true })).toEqual([120, 4095, 121]);
  expect(await ids({ prependBos: true, special: true })).toEqual([4095, 120, 4095, 121]);
  expect(await ids({})).not.toContain(4095);
});

test('the table shows spaces and line ends, up to the limit, and counts', async () => {
  const { printed } = await run({ text: ' time\n\nx', limit: 2 }, false);
  expect(printed).toContain('" time"');
  expect(printed).toContain('"\\n"');
  expect(printed).toMatch(/… and 2 more/);
  expect(printed).toMatch(/4 tokens, 8 characters, 2\.00 characters a token/);
});

test.each([
  [{ text: 'a', file: 'b' }, /one of --text, --file/],
  [{ file: 'no/such/file.txt' }, /no\/such\/file\.txt/],
])('%j is refused with a lesson', async (options, message) => {
  await expect(run(options)).rejects.toThrow(message);
});

test('--limit has to be a number', async () => {
  const argv = 'tokenise --model checkpoints/novels-4l --text a --limit x'.split(' ');
  await expect(buildProgram().parseAsync(argv, { from: 'user' })).rejects.toThrow(/--limit/);
});
