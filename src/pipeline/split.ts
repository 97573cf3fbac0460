/** @file How work that can be shared out is cut: consecutive pieces of about equal length, with names that say what is in them. */

/** `items` in order, in at most `most` pieces whose lengths differ by one at most. */
export function chunks<T>(items: readonly T[], most: number): T[][] {
  const count = Math.min(Math.max(1, most), items.length);
  const at = (i: number) => Math.round((i * items.length) / count);
  return Array.from({ length: count }, (_, i) => items.slice(at(i), at(i + 1)));
}

/** A part for every few names: `topk-8`, or `topk-8-and-3-more`; as short and plain as names of jobs have to be. */
export function namedChunks(names: readonly string[], most: number): { name: string; names: string[] }[] {
  const taken = new Set<string>();
  return chunks(names, most).map((own) => {
    const first = own[0]!.replaceAll(/[^\w-]/g, '_').slice(0, 48);
    const plain = own.length === 1 ? first : `${first}-and-${own.length - 1}-more`;
    let name = plain;
    for (let i = 2; taken.has(name); i++) name = `${plain}_${i}`;
    taken.add(name);
    return { name, names: own };
  });
}
