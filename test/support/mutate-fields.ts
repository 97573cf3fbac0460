/**
 * @file Damages settings as people and attackers do: a key that is missing, doubled in meaning, of another type, huge,
 * negative, broken, empty or deep. Of a JSON or YAML value each place is damaged in each way, so that nothing is left to chance.
 */

/** A damaged settings value and what was done: `d_in: huge`. */
export interface DamagedFields {
  what: string;
  value: unknown;
}

/** Brackets in brackets, within what a reader lets through. */
const deep = (levels: number): unknown => {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = [value];
  return value;
};

const TOO_DEEP = '<too deep>';

const DAMAGES: Readonly<Record<string, unknown>> = {
  null: null,
  true: true,
  'a word': 'constructor',
  'no text': '',
  zero: 0,
  negative: -1,
  fractional: 0.5,
  '2^31': 2 ** 31,
  '2^53': 2 ** 53,
  '1e308': 1e308,
  'an object': { a: 1 },
  'a list': [1, 'a', null],
  deep: deep(150),
  'too deep': TOO_DEEP,
  'long text': 'x'.repeat(100_000),
};

/** The value as JSON (which is YAML, too). */
export function textOf({ value }: DamagedFields): string {
  const text = JSON.stringify(value) ?? '';
  return text.replace(JSON.stringify(TOO_DEEP), '['.repeat(20_000) + ']'.repeat(20_000));
}

/** Every damage of every place of `value`, outermost first. */
export function* damagedFields(value: unknown, at: readonly string[] = []): Generator<DamagedFields> {
  const where = at.join('.') || 'the whole';
  for (const [name, damage] of Object.entries(DAMAGES)) yield { what: `${where}: ${name}`, value: damage };
  if (value === null || typeof value !== 'object') return;
  for (const key of Object.keys(value)) {
    const others = Object.entries(value).filter(([other]) => other !== key);
    const without = Array.isArray(value) ? others.map(([, item]) => item) : Object.fromEntries(others);
    yield { what: `${[...at, key].join('.')}: removed`, value: without };
    for (const inner of damagedFields((value as Record<string, unknown>)[key], [...at, key])) {
      const changed = Object.fromEntries([...others, [key, inner.value]]);
      yield { what: inner.what, value: Array.isArray(value) ? replaced(value, key, inner.value) : changed };
    }
  }
}

const replaced = (list: readonly unknown[], key: string, value: unknown): unknown[] =>
  list.map((item, i) => (String(i) === key ? value : item));
