/** @file A path as the layouts look at it: what kind of thing it is, which names it holds, and its JSON files, read once. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../files.ts';
import { explainRead, readText } from '../../read.ts';

const fields = z.record(z.string(), z.unknown());
export type Fields = z.infer<typeof fields>;

/** A set's config is a page. */
const TEXT = {
  expected: 'the settings of a set of coders',
  todo: 'give the file that belongs to the set',
  most: 2 ** 22,
};
const LEADS_NOWHERE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE']);

/** A file or folder. */
export class Place {
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'nothing';
  /** Names in the folder. */
  readonly names: ReadonlySet<string>;
  readonly #json = new Map<string, Promise<Fields | undefined>>();

  private constructor(path: string, kind: Place['kind'], names: readonly string[]) {
    this.path = path;
    this.kind = kind;
    this.names = new Set(names);
  }

  /** @throws UnfoldError `unreadable` for what is there and may not be looked at; a link into the void is nothing */
  static async at(path: string): Promise<Place> {
    const todo = 'check the path and its permissions';
    const refuse = (cause: unknown) => {
      throw explainRead(cause, path, { expected: 'a coder: a file, or a folder that can be listed', todo });
    };
    const entry = await stat(path).catch((cause: NodeJS.ErrnoException) =>
      LEADS_NOWHERE.has(String(cause.code)) ? undefined : refuse(cause),
    );
    if (!entry) return new Place(path, 'nothing', []);
    if (!entry.isDirectory()) return new Place(path, 'file', []);
    return new Place(path, 'folder', (await readdir(path).catch(refuse)) ?? []);
  }

  /** Last part of the path, also for `.`. */
  get name(): string {
    return basename(resolve(this.path));
  }

  join(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** The object in a JSON file of this folder; undefined if there is none. @throws UnfoldError `bad-json` */
  json(name: string): Promise<Fields | undefined> {
    const known = this.#json.get(name);
    if (known) return known;
    const read = this.names.has(name) ? readFields(this.join(name)) : Promise.resolve(undefined);
    this.#json.set(name, read);
    return read;
  }

  /** The text of a file of this folder; undefined if there is none. */
  text(name: string): Promise<string | undefined> {
    return this.names.has(name) ? readText(this.join(name), TEXT) : Promise.resolve(undefined);
  }
}

async function readFields(path: string): Promise<Fields> {
  return fields.safeParse(await readJson(path)).data ?? {};
}
