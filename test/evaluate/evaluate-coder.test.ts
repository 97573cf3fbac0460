import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '../../src/context.ts';
import { evaluateCoder } from '../../src/evaluate/evaluate-coder.ts';
import { evaluateCoders } from '../../src/evaluate/evaluate-coders.ts';
import { openSafetensors } from '../../src/model/safetensors.ts';
import { useBackend } from '../../src/tensor/backend.ts';

const coder = 'test/fixtures/coders/saelens/topk';
const model = 'checkpoints/novels-4l';

let dir: string;
let tokens: string;
beforeAll(async () => {
  await useBackend();
  dir = await mkdtemp(join(tmpdir(), 'unfold-evaluate-'));
  tokens = join(dir, 'ids.json');
  const { token_rows } = JSON.parse(await readFile('test/fixtures/evaluate/metrics.json', 'utf8')) as {
    token_rows: number[][];
  };
  await writeFile(tokens, JSON.stringify(token_rows.slice(0, 2)));
});
afterAll(() => rm(dir, { recursive: true }));

describe('unfold evaluate', () => {
  it('writes evaluation.json with definitions, and per-token and per-latent tensors', async () => {
    const [out, per_token, per_latent] = ['evaluation.json', 'tokens.safetensors', 'latents.safetensors'].map(
      (name) => join(dir, name),
    );
    const { evaluation } = await evaluateCoder({ coder, model, tokens, out, per_token, per_latent });
    const json = JSON.parse(await readFile(out!, 'utf8')) as {
      metrics: Record<string, number>;
      definitions: object;
    };
    expect(json.metrics).toEqual(evaluation.metrics);
    expect(Object.keys(json.definitions).sort()).toEqual(Object.keys(json.metrics).sort());
    const perToken = await openSafetensors(per_token!);
    expect(perToken.info('ce_loss_with_sae')?.shape).toEqual([2, 47]);
    expect(perToken.info('kl_div_with_sae')?.shape).toEqual([2, 48]);
    await perToken.close();
    const perLatent = await openSafetensors(per_latent!);
    expect(perLatent.info('feature_density')?.shape).toEqual([256]);
    await perLatent.close();
  });

  it('says what is known to be wrong with the coder, as encode and import do', async () => {
    const other = join(dir, 'strange-key');
    await cp(coder, other, { recursive: true });
    const cfg = JSON.parse(await readFile(join(other, 'cfg.json'), 'utf8')) as object;
    await writeFile(join(other, 'cfg.json'), JSON.stringify({ ...cfg, made_up: 1 }));
    const warnings: string[] = [];
    const context = { ...silent(), warn: (message: string) => void warnings.push(message) };
    await evaluateCoder({ coder: other, model, tokens }, context);
    await evaluateCoders({ coder: other, model, tokens }, context);
    expect(warnings).toEqual([expect.stringMatching(/made_up: 1/), expect.stringMatching(/made_up: 1/)]);
  });

  it('leaves out the tokens it is told to, and says so', async () => {
    const all = await evaluateCoder({ coder, model, tokens, all_tokens: true });
    expect(all.evaluation.tokens).toMatchObject({ total: 96, counted: 96 });
    const some = await evaluateCoder({ coder, model, tokens, exclude_tokens: [4095] });
    expect(some.evaluation.tokens.counted).toBeLessThan(96);
    expect(some.facts.exclusions).toBe('tokens 4095 are left out');
  });

  it.each([
    [{ coder, model }, /no text/],
    [{ coder }, /neither --model nor --shards/],
    [{ coder, model, dataset: 'novels', tokens: 'x.json' }, /both --dataset and --tokens/],
    [{ coder, model, shards: 'x' }, /--shards together/],
    [{ coder, shards: 'x', per_token: 'y' }, /--per-token with --shards/],
    [{ coder, model, tokens: 'x', all_tokens: true, exclude_tokens: [1] }, /leave one of them out/],
  ])('refuses contradicting inputs %#', async (options, message) => {
    await expect(evaluateCoder(options)).rejects.toThrow(message);
  });
});
