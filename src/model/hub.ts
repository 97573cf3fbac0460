/**
 * @file Models by name: a local folder as it is, or a hub id through Hugging Face's cache, which is shared with Python.
 * A download resumes, is checked and is shown; one question to the hub tells whether the cached copy is current, and a
 * cached copy is used when the hub cannot be reached. Uploads, datasets and pickled weights are left out.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists, hashOf } from '../files.ts';
import { cachesOf, ModelCache } from './hub/cache.ts';
import { describe, type RemoteFile } from './hub/client.ts';
import { download } from './hub/download.ts';
import { changedMeanwhile, noModel, notAModel, offlineError } from './hub/errors.ts';
import { type FileSource, gather, type Need } from './hub/files.ts';
import { type HubReference, isCommit, parseReference } from './hub/reference.ts';
import { type HubSettings, hubSettings } from './hub/settings.ts';

export { type HubSettings, hubSettings } from './hub/settings.ts';

/** What to resolve, and with which settings. */
export interface ResolveOptions {
  /** Default `model`: config, weights and tokeniser; or the names of files that must be there. */
  need?: Need;
  /** Over the environment's ({@link hubSettings}). */
  settings?: Partial<HubSettings>;
}

const BUNDLED = fileURLToPath(new URL('../../checkpoints', import.meta.url));

/**
 * The local folder of a model: `dirOrId` itself if it is a folder, else the cached and, where needed, downloaded
 * snapshot of a hub id (`openai-community/gpt2`, `org/name@revision`, `gpt2`, `gpt2-small`).
 * A folder is not checked for files: whoever reads one says what is missing.
 * @throws UnfoldError `no-model`, `gated-model`, `no-revision`, `missing-file`, `pickled-model`, `offline`,
 * `no-network`, `bad-checksum`, `disk-full`, `hub-error`
 */
export async function resolveModel(
  dirOrId: string,
  { need = 'model', settings: given }: ResolveOptions = {},
  context: StageContext = silent(),
): Promise<string> {
  const folder = await localFolder(dirOrId);
  if (folder !== undefined) return folder;
  const reference = (await looksLikePath(dirOrId)) ? undefined : parseReference(dirOrId);
  if (reference === undefined) throw notAModel(dirOrId, await foldersNear(dirOrId));
  const settings = { ...hubSettings(), ...given };
  const cached = await fromCache(reference, need, settings);
  if (settings.offline) {
    if ('dir' in cached) return cached.dir;
    throw offlineError(reference, settings, cached.missing);
  }
  if ('dir' in cached && isCommit(reference.revision)) return cached.dir;
  try {
    return await fromHub(reference, need, settings, context);
  } catch (error) {
    const unreachable = error instanceof UnfoldError && error.kind === 'no-network';
    if (!unreachable || !('dir' in cached)) throw error;
    context.warn(`${settings.endpoint} cannot be reached: the cached copy of ${reference.id} is used`);
    return cached.dir;
  }
}

/** The folder of a model's tokeniser files; weights are not fetched. */
export function resolveTokenizerFiles(dirOrId: string, context: StageContext = silent()): Promise<string> {
  return resolveModel(dirOrId, { need: 'tokenizer' }, context);
}

const isFolder = (place: string): Promise<boolean> =>
  stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** A folder by its path, or one of the package's own `checkpoints/` from anywhere. */
async function localFolder(path: string): Promise<string | undefined> {
  if (await isFolder(path)) return path;
  const own = join(BUNDLED, basename(path));
  const asked = path === basename(path) || path === `checkpoints/${basename(path)}`;
  return asked && (await isFolder(own)) ? own : undefined;
}

/** Folders that models of one's own are in. */
const OWN_FOLDERS = ['checkpoints', 'runs', 'models', 'datasets'];

/** True of what can be no hub id, and of names that begin with a folder that is here, or is one of ours. */
async function looksLikePath(name: string): Promise<boolean> {
  if (/^[./~]/.test(name) || name.endsWith('/') || /^[A-Za-z]:|\\/.test(name)) return true;
  const [first, ...rest] = name.split('/');
  if (rest.length === 0) return false;
  return rest.length > 1 || OWN_FOLDERS.includes(first!) || (await isFolder(first!));
}

/** Folders beside the one that is not there, as one would write them, and the package's own. */
async function foldersNear(name: string): Promise<string[]> {
  const parent = dirname(name.replace(/[\\/]+$/, ''));
  const [beside, bundled] = await Promise.all([foldersIn(parent), foldersIn(BUNDLED)]);
  const own = bundled.map((folder) => `checkpoints/${folder}`);
  return [...new Set([...beside.map((folder) => join(parent, folder)), ...own])];
}

async function foldersIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name);
}

/** The snapshot in the cache, if it has all that is needed; else the first thing it lacks. */
async function fromCache(
  reference: HubReference,
  need: Need,
  settings: HubSettings,
): Promise<{ dir: string } | { missing: unknown }> {
  let missing: unknown;
  for (const cache of cachesOf(settings.cacheDir, reference)) {
    const commit = await cache.commitOf(reference.revision);
    if (commit === undefined) continue;
    const dir = cache.snapshot(commit);
    const has = (file: string) => exists(join(dir, file));
    const get = async (file: string) => ((await has(file)) ? join(dir, file) : undefined);
    try {
      await gather({ reference, place: dir, get, has }, need);
      return { dir };
    } catch (error) {
      missing ??= error;
    }
  }
  return { missing };
}

async function fromHub(
  reference: HubReference,
  need: Need,
  settings: HubSettings,
  context: StageContext,
): Promise<string> {
  const source = await HubSource.open(reference, need, settings, context);
  await gather(source, need);
  return source.dir;
}

/** A model on the hub, at the commit that the revision stands for now. */
class HubSource implements FileSource {
  readonly reference: HubReference;
  readonly dir: string;
  readonly place: string;
  readonly #commit: string;
  readonly #cache: ModelCache;
  readonly #settings: HubSettings;
  readonly #context: StageContext;

  private constructor(reference: HubReference, commit: string, settings: HubSettings, context: StageContext) {
    this.reference = reference;
    this.place = `${settings.endpoint}/${reference.id}/tree/${reference.revision}`;
    this.#commit = commit;
    this.#cache = new ModelCache(settings.cacheDir, reference.id);
    this.dir = this.#cache.snapshot(commit);
    this.#settings = settings;
    this.#context = context;
  }

  /** Asks for one file that a model must have; the answer names the commit. */
  static async open(
    reference: HubReference,
    need: Need,
    settings: HubSettings,
    context: StageContext,
  ): Promise<HubSource> {
    const first = Array.isArray(need) ? need[0]! : 'config.json';
    const found = await describe(reference, first, settings, context.signal);
    const known =
      found ??
      (need === 'tokenizer'
        ? await describe(reference, 'tokenizer.json', settings, context.signal)
        : undefined);
    if (known === undefined) throw noModel(404, reference, settings);
    // A plain mirror names no commit: its files get a folder of their own.
    const commit = known.commit ?? `mirror-${hashOf([settings.endpoint, reference]).slice(0, 12)}`;
    const source = new HubSource(reference, commit, settings, context);
    await source.#cache.remember(reference.revision, commit);
    return source;
  }

  async get(file: string): Promise<string | undefined> {
    const path = join(this.dir, file);
    if (await exists(path)) return path;
    if (await this.#cache.isKnownMissing(this.#commit, file)) return undefined;
    const remote = await this.#describe(file);
    if (remote === undefined) {
      await this.#cache.rememberMissing(this.#commit, file);
      return undefined;
    }
    if (remote.commit !== undefined && remote.commit !== this.#commit)
      throw changedMeanwhile(this.reference, this.place);
    await this.#fetch(remote, file);
    return path;
  }

  async has(file: string): Promise<boolean> {
    return (await this.#describe(file)) !== undefined;
  }

  #describe(file: string): Promise<RemoteFile | undefined> {
    return describe(this.reference, file, this.#settings, this.#context.signal);
  }

  async #fetch(remote: RemoteFile, file: string): Promise<void> {
    const named = remote.etag?.replace(/[^\w.-]/g, '_');
    const blob = this.#cache.blob(named ?? `unnamed-${hashOf([this.#commit, file]).slice(0, 16)}`);
    this.#context.note(`fetching ${this.reference.id}: ${file}`);
    await download(remote, blob, basename(file), this.#settings, this.#context);
    await this.#cache.link(this.#commit, file, blob);
  }
}
