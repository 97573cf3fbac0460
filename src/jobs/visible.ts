/**
 * @file Whether this machine sees what a job names. Workers share storage: a path in a message has to mean the same here
 * as where it was queued, and where it does not, the job says so before it begins.
 */
import { hostname } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { UnfoldError } from '../errors.ts';
import { exists, readJson } from '../files.ts';
import { stageDirectory } from '../pipeline/run-stage.ts';
import type { Json, StageInput, StageManifest } from '../pipeline/stage.ts';
import { readStoredJson } from '../storage/open.ts';
import { isRemote, joinPlace } from '../storage/url.ts';
import type { StageJob } from './message.ts';

/** @throws UnfoldError `not-visible` for the first of these paths that is not there; hub ids and globs are let through */
export async function assertVisible(paths: readonly string[], what: string): Promise<void> {
  for (const path of paths) {
    // Of a glob, the folder has to be there.
    const solid = path.replace(/\/?[^/]*[*?[{].*$/, '');
    if (isAbsolute(path) && !(await exists(path)) && !(await exists(solid === path ? path : solid || '/')))
      throw notVisible(path, what);
  }
}

/** @throws UnfoldError `bad-job` for a folder that means something else on every machine, `not-visible` */
export async function assertOut(out: string): Promise<void> {
  if (isRemote(out)) return;
  if (!isAbsolute(out))
    throw new UnfoldError('bad-job', {
      where: `out: ${out}`,
      expected: 'an absolute path or an s3:// URL',
      found: 'a path that depends on where a worker was started',
      todo: 'queue the work again with unfold enqueue',
    });
  // Whoever queued it left a file there; a folder made here would be one that nobody else sees.
  if (!(await exists(out))) throw notVisible(out, 'the folder of the run');
}

/**
 * The finished stages that a stage reads.
 * @throws UnfoldError `not-visible` if one is not there, `input-differs` if another one is
 */
export async function inputsOf(
  { out, inputs }: StageJob,
  needs: readonly string[],
): Promise<Record<string, StageInput>> {
  const found: Record<string, StageInput> = {};
  for (const name of needs) {
    const key = inputs[name];
    if (key === undefined) throw noInput(name, needs);
    const manifest = await stageManifest(out, name, key);
    found[name] = { dir: stageDirectory(out, name, key), key, result: manifest.result };
  }
  return found;
}

/**
 * stage.json of a finished stage, in a folder or on an object store.
 * @throws UnfoldError `not-visible`, `input-differs`
 */
export async function stageManifest(out: string, name: string, key: string): Promise<StageManifest> {
  const folder = `${name}-${key.slice(0, 8)}`;
  const file = `${folder}/stage.json`;
  const where = joinPlace(out, file);
  const content = isRemote(out)
    ? await readStoredJson(out, file)
    : (await exists(where))
      ? await readJson(where, `remove ${join(out, folder)} and queue the work again`)
      : undefined;
  if (content === undefined)
    throw notVisible(where, `the finished stage ${name}, which comes before this one`);
  const manifest = content as StageManifest;
  if (manifest.kind === 'unfold.stage/1' && manifest.key === key) return manifest;
  throw new UnfoldError('input-differs', {
    where,
    expected: `the stage with key ${key.slice(0, 16)}…`,
    found: `another one on ${hostname()}: ${String(manifest.key).slice(0, 16)}…`,
    todo: 'the same path leads to different files on different machines: mount the same storage there, or name another --out',
  });
}

/** What of an identity is another here: names of settings with what they are here and were there. */
export function differencesOf(here: Json, there: Json | undefined, path = ''): string[] {
  if (isMapping(here) && isMapping(there)) {
    const names = [...new Set([...Object.keys(here), ...Object.keys(there)])];
    return names.flatMap((name) =>
      differencesOf(here[name] ?? null, there[name] ?? null, path ? `${path}.${name}` : name),
    );
  }
  const [a, b] = [JSON.stringify(here), JSON.stringify(there ?? null)];
  return a === b
    ? []
    : [`${path || 'the whole'} is ${short(a)} here and was ${short(b)} where it was queued`];
}

const isMapping = (value: Json | undefined): value is { [name: string]: Json | undefined } =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** A hash is known by its first digits; the quotes around a text go with its rest. */
const short = (text: string) => (text.length > 40 ? `${text.slice(0, 20).replace(/^"/, '')}…` : text);

function notVisible(path: string, what: string): UnfoldError {
  return new UnfoldError('not-visible', {
    where: path,
    expected: `${what}, as it was when the job was queued`,
    found: `nothing there on ${hostname()}`,
    todo: `mount the shared storage on ${hostname()} at the same path, keep this job from it (unfold worker --stages, --tags), or queue the work with paths that every machine sees; then unfold jobs retry`,
  });
}

function noInput(name: string, needs: readonly string[]): UnfoldError {
  return new UnfoldError('bad-job', {
    where: 'a message from the queue: inputs',
    expected: `keys of ${needs.join(', ')}`,
    found: `no ${name}`,
    todo: 'queue the work again with unfold enqueue',
  });
}
