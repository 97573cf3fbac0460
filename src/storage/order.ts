/**
 * @file In what order the files of a folder are copied, so that a copy that stops in the middle never looks whole: what
 * vouches for other files comes after them.
 */

/**
 * The step in which a file is copied; one is done before the next begins.
 *   0  logs that grow (*.jsonl): a checkpoint says how long its log is, so the log may be longer than it says, not shorter
 *   1  data
 *   2  JSON: sidecars of shards, manifests, a checkpoint's state
 *   3  stage.json, by which a stage counts as finished
 */
export function stepOf(name: string): number {
  const base = name.slice(name.lastIndexOf('/') + 1);
  if (base === 'stage.json') return 3;
  if (base.endsWith('.jsonl')) return 0;
  return base.endsWith('.json') ? 2 : 1;
}

/** Files by step, each step in order of size, large ones first: then no lane has to wait for one at the end. */
export function inSteps<T extends { name: string; bytes: number }>(files: readonly T[]): T[][] {
  const steps: T[][] = [[], [], [], []];
  for (const file of files) steps[stepOf(file.name)]!.push(file);
  return steps.map((step) => step.sort((a, b) => b.bytes - a.bytes)).filter((step) => step.length > 0);
}

/** The checkpoint a file belongs to: `coder/checkpoints/step-100`; undefined for other files. */
export function checkpointOf(name: string): string | undefined {
  return /^((?:.*\/)?checkpoints\/step-\d+)\//.exec(name)?.[1];
}

/** Those files that belong to no checkpoint, or to one that is whole: its state.json is copied last. */
export function withoutHalfCheckpoints<T extends { name: string }>(files: readonly T[]): T[] {
  const names = new Set(files.map(({ name }) => name));
  return files.filter(({ name }) => {
    const checkpoint = checkpointOf(name);
    return checkpoint === undefined || names.has(`${checkpoint}/state.json`);
  });
}
