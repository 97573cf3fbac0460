/**
 * @file A trial of the reading code with damaged files: whatever a file became, reading it ends soon, with values or with a
 * lesson. {@link trial} tells of every time that it did not, by seed. What loops without end blocks this process too: let
 * another watch over it.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UnfoldError } from '../../src/errors.ts';
import { Random } from '../../src/random.ts';
import { describeMutation, mutate } from './mutate.ts';
import type { Subject } from './read-everything.ts';

/** What came of a trial. */
export interface Outcome {
  read: number;
  refused: number;
  /** Neither: one line each, with what it takes to have it again. */
  faults: string[];
}

/** Longer than this for a file of a few kilobytes is a fault. */
const MOST_MS = 5000;

/**
 * Damages one file of the subject `count` times, from `seed` on, and reads it.
 * @param before told what comes next, so that whoever watches knows what hung
 */
export async function trial(
  subject: Subject,
  seed: number,
  count: number,
  before: (what: string) => void = () => {},
): Promise<Outcome> {
  const outcome: Outcome = { read: 0, refused: 0, faults: [] };
  for (let i = 0; i < count; i++) {
    const random = Random.of(seed + i, 'trial', subject.name);
    const name = subject.files[random.below(subject.files.length)]!;
    const path = name === '' ? subject.path : join(subject.path, name);
    const sound = await readFile(path);
    const { bytes, mutation } = mutate(sound, random);
    const what = `${join(subject.name, name)}, seed ${seed + i}: ${describeMutation(mutation)}`;
    before(what);
    await writeFile(path, bytes);
    const start = performance.now();
    try {
      await subject.read(subject.path, AbortSignal.timeout(MOST_MS));
      outcome.read++;
    } catch (error) {
      if (error instanceof UnfoldError) outcome.refused++;
      else outcome.faults.push(`${what}: ${(error as Error)?.stack ?? String(error)}`);
    }
    const took = performance.now() - start;
    if (took > MOST_MS) outcome.faults.push(`${what}: ${Math.round(took)} ms`);
    await writeFile(path, sound);
  }
  return outcome;
}
