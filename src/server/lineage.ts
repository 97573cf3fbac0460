/**
 * @file From a job to files: the folder that it makes, those that it reads, whether each is finished, how large it is, and
 * which job of the flow made it. Folders on an object store, or that this machine does not see, are named only.
 */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobMessage } from '../jobs/message.ts';
import { folderBytes } from './disk.ts';
import type { World } from './world.ts';

/** A stage's folder. */
export interface LineageFolder {
  role: 'writes' | 'reads' | 'sums up';
  stage: string;
  path: string;
  /** Undefined where this machine does not see it. */
  finished?: boolean;
  bytes?: number;
  /** Id of the job that makes it. */
  job?: string;
}

/** See the fields. */
export interface Lineage {
  out?: string;
  folders: LineageFolder[];
}

/** Lineage of a valid message. */
export async function lineageOf(
  message: JobMessage | undefined,
  { feed }: Pick<World, 'feed'>,
): Promise<Lineage> {
  if (!message) return { folders: [] };
  const { jobs } = await feed.now();
  const named = foldersOf(message);
  const folders = named.map(async ([role, stage, key]) => {
    const path = `${message.out.replace(/\/+$/, '')}/${stage}-${key.slice(0, 8)}`;
    const job = jobs.get(`${message.flow}.${stage}`)?.id;
    return { role, stage, path, ...(job ? { job } : {}), ...(await seen(path)) };
  });
  return { out: message.out, folders: await Promise.all(folders) };
}

function foldersOf(message: JobMessage): [LineageFolder['role'], string, string][] {
  if (message.type === 'direct') return [];
  const pairs = Object.entries(message.type === 'stage' ? message.inputs : message.stages).slice(0, 50);
  const role = message.type === 'stage' ? 'reads' : 'sums up';
  const inputs = pairs.map(([stage, key]): [LineageFolder['role'], string, string] => [role, stage, key]);
  return message.type === 'stage' ? [['writes', message.stage, message.key], ...inputs] : inputs;
}

async function seen(path: string): Promise<{ finished?: boolean; bytes?: number }> {
  if (/^\w+:\/\//.test(path)) return {};
  const there = (name: string) =>
    access(name).then(
      () => true,
      () => false,
    );
  if (!(await there(path))) return {};
  const [finished, size] = await Promise.all([there(join(path, 'stage.json')), folderBytes(path)]);
  return { finished, ...(size === undefined ? {} : { bytes: size.bytes }) };
}
