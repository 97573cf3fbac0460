/** @file `unfold generate`: continues a prompt and streams the text. */
import type { Command } from 'commander';
import { UnfoldError } from '../../errors.ts';
import type { GenerateOptions } from '../../model/generate.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { writeForeign } from '../streams.ts';
import { natural, numberIn, positive } from '../values.ts';

const command: CommandSpec = {
  name: 'generate',
  summary: 'continue a prompt',
  description: `Continues a prompt and prints the text as it comes. Greedy unless --temperature, --top-k, --top-p or --seed is
given; the same seed gives the same text. Ids of a padded embedding that no token stands for are never chosen.
Control characters are shown as \\x1b; --json has the text as it is.`,
  examples: [
    [
      'unfold generate --model checkpoints/novels-4l --prompt "Once upon a time"',
      '20 tokens, the most likely each',
    ],
    [
      'unfold generate --model checkpoints/novels-4l --prompt "Once upon a time" --max-new-tokens 60 --temperature 0.8 --top-p 0.95 --seed 1',
      '60 tokens, drawn',
    ],
  ],
  afterStop: BEGINS_AGAIN,
  usesBackend: true,
  modes: {
    of: ({ temperature }) => (temperature === 0 ? '--temperature 0' : 'drawing'),
    always: [
      '--model',
      '--prompt',
      '--max-new-tokens',
      '--temperature',
      '--stop-at-eos',
      '--no-kv-cache',
      '--no-prepend-bos',
    ],
    takes: { drawing: ['--top-k', '--top-p', '--seed'], '--temperature 0': [] },
  },
  configure(command: Command) {
    command
      .requiredOption('--model <dir or id>', 'a Hugging Face GPT-2: folder or hub id')
      .requiredOption('--prompt <text>', 'text to continue; BOS goes in front')
      .option('--max-new-tokens <n>', 'tokens to add', natural, 20)
      .option(
        '--temperature <t>',
        '0 takes the most likely token (default; 1 if another sampling option is given)',
        numberIn({ least: 0 }),
      )
      .option('--top-k <k>', 'draw from the k most likely tokens', positive)
      .option(
        '--top-p <p>',
        'draw from the most likely tokens that reach this probability',
        numberIn({ least: 0, above: true, most: 1 }),
      )
      .option('--seed <n>', 'seed of the draws (default 0)', natural)
      .option('--stop-at-eos', "end at the model's end token")
      .option('--no-kv-cache', 'compute the whole text again for every token')
      .option('--no-prepend-bos', 'leave BOS out in front of the prompt');
  },
  async run(_args, options, io) {
    const { loadGPT2 } = await import('../../model/gpt2.ts');
    const { generate } = await import('../../model/generate.ts');
    const { assertFits, idsWithoutToken, loadTokenizer } = await import('../../model/tokenizer.ts');
    const { promptIds } = await import('../../model/prompt.ts');
    const tokenizer = await loadTokenizer(options.model as string, io.context);
    const prompt = options.prompt as string;
    const prompt_ids = await promptIds(tokenizer, prompt, options.prependBos !== false);
    const model = await loadGPT2(options.model as string, io.context);
    assertFits(tokenizer, model.cfg.d_vocab, io.context);
    const stream = io.json ? undefined : streamTo(tokenizer, prompt);
    const settings = settingsOf(options, tokenizer);
    const new_ids = await generate(model, prompt_ids, {
      ...settings,
      without: idsWithoutToken(tokenizer, model.cfg.d_vocab),
      signal: io.context.signal,
      ...(stream && { onToken: stream.add }),
    });
    stream?.end();
    io.context.signal.throwIfAborted();
    io.emit({ prompt, prompt_ids, new_ids, text: tokenizer.decode(new_ids) });
  },
};

export default command;

function settingsOf(options: Record<string, unknown>, tokenizer: Tokenizer): GenerateOptions {
  const settings = {
    max_new_tokens: options.maxNewTokens,
    temperature: options.temperature,
    top_k: options.topK,
    top_p: options.topP,
    seed: options.seed,
    stop_at: options.stopAtEos ? endToken(tokenizer) : undefined,
    use_kv_cache: options.kvCache !== false,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function endToken({ eosId, dir }: Tokenizer): number {
  if (eosId !== undefined) return eosId;
  throw new UnfoldError('no-eos', {
    where: dir,
    expected: 'an end token, at which --stop-at-eos ends',
    found: 'none in its files',
    todo: 'leave --stop-at-eos out; --max-new-tokens says how long the text gets',
  });
}

/** Prints the prompt and then each new piece; bytes of an unfinished character wait for the rest. */
function streamTo(tokenizer: Tokenizer, prompt: string): { add: (id: number) => void; end: () => void } {
  const ids: number[] = [];
  let shown = 0;
  const show = (text: string) => {
    writeForeign(text.slice(shown));
    shown = text.length;
  };
  writeForeign(prompt);
  return {
    add(id) {
      ids.push(id);
      const text = tokenizer.decode(ids);
      if (!text.endsWith('\uFFFD')) show(text);
    },
    end() {
      show(tokenizer.decode(ids));
      writeForeign('\n');
    },
  };
}
