/** @file Messages that nobody should put into a queue, made of one that is right but for its settings. */
type Message = Record<string, unknown>;

/** A way to spoil a message: the JSON that lies in Redis afterwards. */
export interface Poison {
  name: string;
  poison(message: Message): string;
}

/** Settings as JSON text, since not all that JSON can say survives `JSON.stringify`. */
const settings =
  (json: string) =>
  (message: Message): string =>
    JSON.stringify({ ...message, settings: 0 }).replace('"settings":0', () => `"settings":${json}`);

const field =
  (more: Message) =>
  (message: Message): string =>
    JSON.stringify({ ...message, ...more });

/** An object 200 levels deep. */
const deep = (key: string) => `${`{"${key}":`.repeat(200)}1${'}'.repeat(200)}`;
const numbers = ['1e308', '-1e308', '1e999', '9007199254740993', '-0.5', '"NaN"', '"Infinity"', '[1e308]'];
const everywhere = (value: string) =>
  `{${['seconds', 'steps', 'd_sae', 'rows', 'max_tokens', 'shard_rows', 'settings', 'text', 'coder', 'model']
    .map((name) => `"${name}":${value}`)
    .join()}}`;

/** All of them; each has to be refused, by every kind of job. */
export const poisons: readonly Poison[] = [
  ...numbers.map((value) => ({ name: `every setting ${value}`, poison: settings(everywhere(value)) })),
  { name: 'settings that are a number', poison: settings('1e308') },
  { name: 'settings that are null', poison: settings('null') },
  { name: 'settings that are a list', poison: settings('[[[]]]') },
  { name: '__proto__ in the settings', poison: settings('{"__proto__":{"seconds":0,"admin":true}}') },
  { name: 'constructor in the settings', poison: settings('{"constructor":{"prototype":{"admin":true}}}') },
  { name: '__proto__ two levels down', poison: settings('{"settings":{"a":{"__proto__":{"admin":true}}}}') },
  { name: '__proto__ in a list', poison: settings('{"sweep":{"coders":[{"__proto__":{"admin":true}}]}}') },
  { name: 'toString as a setting', poison: settings('{"toString":1,"hasOwnProperty":null}') },
  { name: 'settings 200 levels deep', poison: settings(deep('a')) },
  { name: 'settings 200 levels deep, of a known name', poison: settings(deep('settings')) },
  {
    name: 'lists 30,000 levels deep',
    poison: settings(`{"settings":${'['.repeat(30_000)}${']'.repeat(30_000)}}`),
  },
  { name: 'a string of 250 kB', poison: settings(JSON.stringify({ model: 'x'.repeat(250_000) })) },
  { name: 'a name of 250 kB', poison: settings(JSON.stringify({ ['x'.repeat(250_000)]: 1 })) },
  { name: 'every string 25 kB', poison: settings(everywhere(JSON.stringify('y'.repeat(25_000)))) },
  { name: 'names with control characters', poison: settings('{"\\u001b[2J\\u0000\\n":1}') },
  { name: 'values with control characters', poison: settings(everywhere('"\\u001b]0;x\\u0007\\n"')) },
  { name: 'paths with NUL in the settings', poison: settings(everywhere('"/etc/passwd\\u0000.json"')) },
  { name: 'a folder with NUL', poison: field({ out: '/tmp/x\u0000y' }) },
  { name: 'a folder with a newline', poison: field({ out: '/tmp/x\ny' }) },
  { name: 'a flow with control characters', poison: field({ flow: 'a\u001b[2J' }) },
  { name: 'a tag with a newline', poison: field({ tags: ['a\nb'] }) },
  { name: 'a stage called __proto__', poison: field({ stage: '__proto__' }) },
  { name: 'a stage called constructor', poison: field({ stage: 'constructor' }) },
  { name: 'version 1e308', poison: field({ version: 1e308, parts: 1e308 }) },
  {
    name: 'inputs with __proto__',
    poison: (message) => settings('{}')(message).replace('{', '{"__proto__":{"a":1},'),
  },
];
