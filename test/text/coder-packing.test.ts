/** @file How a coder's text was packed, out of its cfg.json: SAELens's keys, null where it is a value, what is no value. */
import { describe, expect, test } from 'vitest';
import { packingOfCoder, rowRuleOfCoder } from '../../src/text/coder-packing.ts';
import { textChangesSchema } from '../../src/text/spec.ts';

describe('the packing of a coder', () => {
  test('is what SAELens wrote; null means none for tokens and nothing for sizes', () => {
    expect(
      packingOfCoder({
        context_size: 64,
        prepend_bos: false,
        sequence_separator_token: null,
        disable_concat_sequences: true,
        hook_name: 'blocks.0.hook_resid_pre',
      }),
    ).toEqual({
      context_size: 64,
      prepend_bos: false,
      sequence_separator_token: null,
      disable_concat_sequences: true,
    });
    expect(packingOfCoder({ context_size: null, prepend_bos: null, begin_sequence_token: 7 })).toEqual({
      begin_sequence_token: 7,
    });
    expect(packingOfCoder({})).toEqual({});
  });

  test.each([
    [{ context_size: '128' }, 'metadata.context_size', '--context-size'],
    [{ context_size: 1e308 }, 'metadata.context_size', '--context-size'],
    [{ prepend_bos: 'yes' }, 'metadata.prepend_bos', '--prepend-bos'],
    [{ sequence_separator_token: 'sep' }, 'metadata.sequence_separator_token', '--sequence-separator-token'],
    [{ disable_concat_sequences: 1 }, 'metadata.disable_concat_sequences', '--disable-concat-sequences'],
  ])('%j is refused by name, unless it is said otherwise', (metadata, where, flag) => {
    const lesson = { where: expect.stringContaining(where), todo: expect.stringContaining(flag) };
    expect(() => packingOfCoder(metadata)).toThrow(
      expect.objectContaining({ kind: 'bad-coder', lesson: expect.objectContaining(lesson) }),
    );
    const key = where.slice('metadata.'.length);
    expect(packingOfCoder(metadata, { [key]: null } as object)).toEqual({});
  });
});

describe('the rows of a coder', () => {
  test('are those of seqpos_slice and exclude_special_tokens', () => {
    expect(rowRuleOfCoder({ seqpos_slice: [1, null], exclude_special_tokens: [3] })).toEqual({
      seqpos_slice: [1, null],
      exclude_special_tokens: [3],
    });
    expect(rowRuleOfCoder({ seqpos_slice: null })).toEqual({
      seqpos_slice: undefined,
      exclude_special_tokens: false,
    });
  });

  test.each([
    { seqpos_slice: 'all' },
    { seqpos_slice: [0, 1, 2, 3] },
    { exclude_special_tokens: [-1] },
    { exclude_special_tokens: 'bos' },
  ])('%j is refused', (metadata) => {
    expect(() => rowRuleOfCoder(metadata)).toThrow(expect.objectContaining({ kind: 'bad-coder' }));
  });
});

test('changes of a text have no defaults, and keep null', () => {
  expect(textChangesSchema.parse({})).toEqual({});
  expect(textChangesSchema.parse({ sequence_separator_token: null })).toEqual({
    sequence_separator_token: null,
  });
  expect(() => textChangesSchema.parse({ dataset: 'x' })).toThrow();
});
