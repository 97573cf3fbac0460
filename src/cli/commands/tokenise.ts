/** @file `unfold tokenise`: a text's token ids and pieces. */
import { UnfoldError } from '../../errors.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { jsonText } from '../../printable.ts';
import type { TokenisedText } from '../../text/tokenise.ts';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec } from '../command.ts';
import { writeAllOut } from '../streams.ts';
import { natural } from '../values.ts';

/** Above this a JSON object is written piece by piece: one string would be too long. */
const ONE_STRING = 2 ** 20;

interface Options {
  model: string;
  text?: string;
  file?: string;
  special?: boolean;
  prependBos?: boolean;
  limit: number;
}

const command: CommandSpec = {
  name: 'tokenise',
  summary: 'print the token ids and pieces of a text',
  description: [
    "Tokenises a text as the model's own tokeniser does, ids equal to those of transformers. No token is added unless",
    'asked for. <|endoftext|> written in the text is ordinary text unless --special is given, as in a dataset.',
    'With --json the pieces are those of TransformerLens (to_str_tokens).',
  ].join('\n'),
  examples: [
    [
      'unfold tokenise --model checkpoints/novels-4l --text "The old lady looked round"',
      'a table of ids and pieces',
    ],
    ['unfold tokenise --model gpt2 --file README.md --limit 0', 'every token of a file'],
    [
      'echo "It was the best of times" | unfold tokenise --model checkpoints/novels-4l --json',
      'ids and pieces as JSON',
    ],
  ],
  modes: {
    of: ({ json }) => (json ? '--json' : 'a table'),
    always: ['--model', '--text', '--file', '--special', '--prepend-bos'],
    takes: { 'a table': ['--limit'], '--json': [] },
  },
  afterStop: BEGINS_AGAIN,
  configure(command) {
    command
      .alias('tokenize')
      .requiredOption('--model <dir|id>', 'folder or hub id of the model whose tokeniser is used')
      .option('--text <text>', 'the text itself')
      .option('--file <path>', 'a text file of any size (.gz is looked through); default: stdin')
      .option('--special', 'special tokens written in the text are special')
      .option('--prepend-bos', 'begin with the BOS token')
      .option('--limit <n>', 'tokens shown in the table, 0 for all', natural, 100);
  },
  async run(_args, options, io) {
    const settings = options as unknown as Options;
    const limit = settings.limit || Number.POSITIVE_INFINITY;
    const { loadTokenizer } = await import('../../model/tokenizer.ts');
    const tokenizer = await loadTokenizer(settings.model, io.context);
    const found = withBos(await read(settings, tokenizer, io), tokenizer, settings);
    if (io.json) await emitJson(found, tokenizer, io);
    else await printTable(found, tokenizer, limit, io);
  },
};

export default command;

async function read(settings: Options, tokenizer: Tokenizer, { context }: CommandIO): Promise<TokenisedText> {
  const { tokeniseFile, tokeniseStream, tokeniseText } = await import('../../text/tokenise.ts');
  const { text, file, special = false } = settings;
  if (text !== undefined && file !== undefined) throw contradiction('--text and --file', 'both');
  if (text !== undefined) return tokeniseText(text, tokenizer, { special });
  if (file !== undefined) return tokeniseFile(file, tokenizer, { special }, context);
  if (process.stdin.isTTY)
    throw contradiction('the text', 'neither --text nor --file, and stdin is a terminal');
  return tokeniseStream(process.stdin, 'stdin', tokenizer, { special }, context);
}

function contradiction(where: string, found: string): UnfoldError {
  const expected = 'one of --text, --file and text on stdin';
  return new UnfoldError('bad-option', {
    where,
    expected,
    found,
    todo: 'give one: unfold tokenise --model gpt2 --text "Hello"',
  });
}

function withBos(
  found: TokenisedText,
  { bosId, dir }: Tokenizer,
  { prependBos = false }: Options,
): TokenisedText {
  if (!prependBos) return found;
  if (bosId !== undefined) return { ...found, ids: concatenate(bosId, found.ids) };
  const lesson = { where: dir, expected: 'a BOS token', found: 'none', todo: 'leave --prepend-bos out' };
  throw new UnfoldError('no-bos', lesson);
}

function concatenate(first: number, rest: Int32Array): Int32Array {
  const ids = new Int32Array(rest.length + 1);
  ids[0] = first;
  ids.set(rest, 1);
  return ids;
}

/** `{ids, pieces, n_tokens, n_characters}`. */
async function emitJson(
  { ids, characters }: TokenisedText,
  tokenizer: Tokenizer,
  io: CommandIO,
): Promise<void> {
  const counts = { n_tokens: ids.length, n_characters: characters };
  if (ids.length <= ONE_STRING) {
    io.emit({ ids: [...ids], pieces: tokenizer.pieces(ids), ...counts });
    return;
  }
  await writeAllOut('{"ids":[');
  await writeItems(ids, (part) => [...part].join());
  await writeAllOut('],"pieces":[');
  await writeItems(ids, (part) => jsonText(tokenizer.pieces(part)).slice(1, -1));
  await writeAllOut(`],${JSON.stringify(counts).slice(1)}\n`);
}

async function writeItems(ids: Int32Array, render: (part: Int32Array) => string): Promise<void> {
  for (let at = 0; at < ids.length; at += ONE_STRING / 16) {
    await writeAllOut(`${at > 0 ? ',' : ''}${render(ids.subarray(at, at + ONE_STRING / 16))}`);
  }
}

async function printTable(
  { ids, characters }: TokenisedText,
  tokenizer: Tokenizer,
  limit: number,
  io: CommandIO,
) {
  const { textTable } = await import('../../table.ts');
  const { default: pc } = await import('picocolors');
  const shown = ids.subarray(0, limit);
  const pieces = tokenizer.visiblePieces(shown);
  const head = ['position', 'id', 'piece'];
  for (let at = 0; at < shown.length; at += 10_000) {
    const part = [...shown.subarray(at, at + 10_000)];
    const rows = part.map((id, i) => [at + i, id, quoted(pieces[at + i]!)]);
    io.print(textTable(at === 0 ? head : [], rows, { align: ['right', 'right', 'left'] }));
  }
  if (ids.length > shown.length)
    io.print(pc.dim(`… and ${ids.length - shown.length} more (--limit 0 shows all)`));
  const rate = ids.length > 0 ? `, ${(characters / ids.length).toFixed(2)} characters a token` : '';
  io.print(`${pc.bold(String(ids.length))} tokens, ${characters} characters${rate}`);
}

/** Spaces and line ends made visible; `\xNN` of broken characters stays as it is. */
function quoted(piece: string): string {
  return `"${piece.replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t').replaceAll('"', '\\"')}"`;
}
