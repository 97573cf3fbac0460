/**
 * @file Reads damaged files in a process of its own, so that what hangs can be killed and what aborts takes nothing with it.
 * Told of a part by a message, it says what comes next before each file, and at the end what came of it.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '../../src/tensor/backend.ts';
import {
  allSubjects,
  hasFields,
  type KindOfSubject,
  type Part,
  tryPart,
} from '../../test/support/all-subjects.ts';

/** What the parent asks for. */
export interface Ask {
  subject: number;
  part: Part;
}

/** What the child says: what there is to try, what it tries next, what came of a part. */
export type Say =
  | { subjects: { kind: string; name: string; hasFields: boolean }[] }
  | { next: string }
  | { read: number; refused: number; faults: string[] };

const say = (message: Say) => process.send!(message);

/** Neither ends by itself: for a test of whoever watches. */
const LAST: Readonly<Record<string, () => void>> = {
  hang: () => {
    for (;;);
  },
  abort: () => process.abort(),
};

async function answer(all: readonly KindOfSubject[], { subject, part }: Ask): Promise<void> {
  const outcome = await tryPart(all[subject]!, part, (next) => say({ next }));
  say(outcome);
}

const folder = await mkdtemp(join(process.env.UNFOLD_MUTATIONS_DIR ?? tmpdir(), 'unfold-mutations-'));
process.env.UNFOLD_CACHE = join(folder, 'cache');
await useBackend('cpu');
const all = await allSubjects(folder);
process.on('message', (ask: Ask | { last: string }) => {
  if ('last' in ask) {
    say({ next: ask.last });
    setTimeout(LAST[ask.last]!, 100);
  } else void answer(all, ask);
});
say({
  subjects: all.map(({ kind, subject }) => ({ kind, name: subject.name, hasFields: hasFields(subject) })),
});
