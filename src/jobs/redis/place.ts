/**
 * @file Where this machine's private Redis lives: a folder of the user's state for its data, and a Unix socket, whose path
 * the kernel limits to about 100 bytes.
 */
import { existsSync, readFileSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { sha256 } from '../../files.ts';
import { makeFolder } from '../../folders.ts';
import { stateFolder } from '../../state.ts';

/** sun_path holds 104 bytes on macOS, 108 on Linux. */
const LONGEST_SOCKET = 100;

/** Paths of the private server. */
export interface PrivatePlace {
  /** Data, log and pid; only the user may enter. */
  folder: string;
  socket: string;
  /** As a queue's URL. */
  url: string;
  /** Says which machine's process has the folder ({@link ServerRecord}). */
  record: string;
  log: string;
}

const serverRecord = z.object({
  host: z.string(),
  /** /etc/machine-id, where it tells machines apart: host names change. */
  machine: z.string(),
  pid: z.int().positive(),
  started: z.string(),
  /** `unfold queue stop` is ending it: nobody is to start it again by itself. */
  stopping: z.boolean().optional(),
});

/** Whose the folder is. A home on a network disk is seen by many machines; a socket on it works on one. */
export type ServerRecord = z.output<typeof serverRecord>;

/** The record, or undefined if there is none that can be read. */
export async function readRecord(place: PrivatePlace): Promise<ServerRecord | undefined> {
  try {
    return serverRecord.parse(JSON.parse(await readFile(place.record, 'utf8')));
  } catch {
    return undefined;
  }
}

/** The paths, by the environment. Makes nothing. */
export function privatePlace(env: NodeJS.ProcessEnv = process.env): PrivatePlace {
  const folder = join(stateFolder(env), 'queue');
  const socket = socketPath(folder, env);
  return {
    folder,
    socket,
    url: `redis+unix://${encodeURI(socket).replaceAll('?', '%3F').replaceAll('#', '%23').replaceAll('@', '%40')}`,
    record: join(folder, 'server.json'),
    log: join(folder, 'redis.log'),
  };
}

function socketPath(folder: string, env: NodeJS.ProcessEnv): string {
  const short = `unfold-${sha256(folder).slice(0, 12)}`;
  const candidates = [
    folder,
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, short)] : []),
    join(tmpdir(), short),
    join('/tmp', short),
  ].map((dir) => join(dir, 'redis.sock'));
  return candidates.find((path) => Buffer.byteLength(path) <= LONGEST_SOCKET) ?? candidates.at(-1)!;
}

/**
 * Makes a folder that nobody else may enter.
 * @throws UnfoldError `bad-queue` if it is somebody else's
 */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await makeFolder(path, 0o700);
  } catch (cause) {
    throw new UnfoldError('bad-queue', {
      where: path,
      expected: 'a folder for the private Redis that can be made',
      found: (cause as Error).message,
      todo: 'set UNFOLD_STATE to a local folder of yours, or name a Redis: --queue redis://host',
      cause,
    });
  }
  const found = await lstat(path);
  const uid = process.getuid?.() ?? found.uid;
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o022) === 0) return;
  throw new UnfoldError('bad-queue', {
    where: path,
    expected: 'a folder of yours that nobody else may write to, for the private Redis',
    found: `${found.isDirectory() ? 'a folder' : 'something else'} of user ${found.uid}, mode ${(found.mode & 0o777).toString(8)}`,
    todo: `chmod 700 ${path}, or set UNFOLD_STATE to another folder`,
  });
}

/** This machine, for the record. */
export function thisMachine(): Pick<ServerRecord, 'host' | 'machine'> {
  return { host: hostname(), machine: machineId() };
}

/** Only where systemd runs: containers of one image share the file. */
function machineId(): string {
  try {
    return existsSync('/run/systemd/system') ? readFileSync('/etc/machine-id', 'utf8').trim() : '';
  } catch {
    return '';
  }
}

/** True if the record was made on this machine; by its name where either does not know its id. */
export function isThisMachine(record: ServerRecord, here = thisMachine()): boolean {
  if (record.machine && here.machine) return record.machine === here.machine;
  return record.host === here.host;
}
