import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import trainCommand from '../../src/cli/commands/train.ts';
import { isTextOption } from '../../src/cli/text-options.ts';
import { resolveSettings, settingNames } from '../../src/train/settings.ts';

const messageOf = (raw: Record<string, unknown>, width = 8): string => {
  try {
    resolveSettings(raw, width);
    return 'accepted';
  } catch (error) {
    return (error as Error).message;
  }
};

describe('settings of a training run', () => {
  it('are filled in: 16 latents a dimension, shares of the run in steps, lr_end a tenth', () => {
    const settings = resolveSettings({ training_tokens: 102_400, train_batch_size_tokens: 1024, k: 4 }, 8);
    expect(settings).toMatchObject({ d_sae: 128, total_steps: 100, lr_decay_steps: 20 });
    expect(settings.lr_end).toBeCloseTo(3e-5, 12);
    expect(settings.coder).toMatchObject({ k: 4, rescale_acts_by_decoder_norm: true, aux_relu: true });
  });

  it.each([
    ['k larger than d_sae', { k: 65, d_sae: 64 }, /k[\s\S]*d_sae = 64[\s\S]*65/],
    [
      'warm-up and decay longer than the run',
      { lr_warm_up_steps: '60%', lr_decay_steps: '60%', k: 4 },
      /together/,
    ],
    ['less than a batch of tokens', { training_tokens: 10, k: 4 }, /training_tokens/],
    ['a decay from 0', { lr_scheduler_name: 'cosineannealing', lr_end: 0, k: 4 }, /lr_end/],
    ['a name that is none', { leraning_rate: 1 }, /leraning_rate/],
    ['a value of the wrong kind', { lr: 'fast' }, /lr[\s\S]*"fast"/],
    ['a setting of another architecture', { architecture: 'standard', k: 4 }, /\bk\b/],
    ['an architecture that can only be loaded', { architecture: 'temporal' }, /loaded and run only/],
    ['an unknown architecture', { architecture: 'topq' }, /topq/],
  ])('refuse %s before any work', (_, raw, message) => {
    expect(messageOf(raw)).toMatch(message);
  });

  it('every flag of unfold train but the rows, the folder and the files is one of them', () => {
    const command = new Command();
    trainCommand.configure(command);
    const others = [
      'shards',
      'model',
      'dataset',
      'maxTokens',
      'contextSize',
      'out',
      'config',
      'sweep',
      'set',
      'resume',
      ...['excludeSpecialTokens', 'seqposSlice'],
    ];
    const flags = command.options
      .map((option) => option.attributeName())
      .filter((name) => !others.includes(name) && !isTextOption(name));
    const known = [...settingNames('topk'), ...settingNames('standard')];
    for (const flag of flags) expect(known).toContain(flag.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`));
  });
});
