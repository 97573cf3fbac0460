/** @file What can go wrong between here and the hub, as lessons. */
import { nearest, UnfoldError } from '../../errors.ts';
import { type HubReference, SHORT_NAMES } from './reference.ts';
import type { HubSettings } from './settings.ts';

/** The model's page, for the remedies. */
const page = ({ id }: HubReference, { endpoint }: HubSettings) => `${endpoint}/${id}`;

/** A status that is not success. Undefined: the file alone is missing, which may be all right. */
export function refusal(
  status: number,
  headers: Record<string, string | undefined>,
  file: string,
  reference: HubReference,
  settings: HubSettings,
): UnfoldError | undefined {
  const code = headers['x-error-code'];
  if (code === 'EntryNotFound') return undefined;
  if (code === 'RevisionNotFound') return noRevision(reference, settings);
  if (code === 'GatedRepo' || (status === 403 && code === undefined))
    return gated(status, reference, settings);
  if (code === 'RepoNotFound' || status === 401) return noModel(status, reference, settings);
  if (status === 404) return undefined;
  return new UnfoldError('hub-error', {
    where: `${page(reference, settings)}: ${file}`,
    expected: 'the file',
    found: `HTTP ${status}${headers['x-error-message'] ? `: ${headers['x-error-message']}` : ''}`,
    todo:
      status === 429 ? 'wait a while, or set HF_TOKEN: the hub limits anonymous requests' : 'try again later',
  });
}

/** Nothing of that name, as far as this user may know. */
export function noModel(status: number, reference: HubReference, settings: HubSettings): UnfoldError {
  const token = settings.token === undefined ? 'no token was sent' : 'the token was sent';
  return new UnfoldError('no-model', {
    where: `model "${reference.id}"`,
    expected: `a folder of that name, or a model at ${page(reference, settings)}`,
    found: `no such folder, and HTTP ${status} (${token})`,
    todo: 'check the spelling; for a private model set HF_TOKEN',
  });
}

function gated(status: number, reference: HubReference, settings: HubSettings): UnfoldError {
  return new UnfoldError('gated-model', {
    where: `model "${reference.id}"`,
    expected: 'permission to download',
    found: `HTTP ${status} ${settings.token === undefined ? 'without a token' : 'with the token of HF_TOKEN'}`,
    todo: `accept the terms at ${page(reference, settings)} and set HF_TOKEN to a token of that account`,
  });
}

function noRevision(reference: HubReference, settings: HubSettings): UnfoldError {
  return new UnfoldError('no-revision', {
    where: `model "${reference.id}@${reference.revision}"`,
    expected: 'a branch, a tag or a full commit hash',
    found: 'none of that name',
    todo: `choose one of ${page(reference, settings)}/tree/main, or leave @${reference.revision} out`,
  });
}

/** A file that the model must have. */
export function missingFile(file: string, reference: HubReference, where: string): UnfoldError {
  return new UnfoldError('missing-file', {
    where: `model "${reference.id}"`,
    expected: file,
    found: `no such file at ${where}`,
    todo: 'choose a Hugging Face GPT-2 with safetensors weights, such as openai-community/gpt2',
  });
}

/** Pickled weights only. */
export function onlyPickle(reference: HubReference): UnfoldError {
  return new UnfoldError('pickled-model', {
    where: `model "${reference.id}"`,
    expected: 'model.safetensors, or its shards with model.safetensors.index.json',
    found: 'only pytorch_model.bin, a pickle, which can run code when it is read',
    todo:
      'choose a revision with safetensors (some models: @refs/pr/1), or convert it in Python: ' +
      `AutoModelForCausalLM.from_pretrained("${reference.id}").save_pretrained("DIR")`,
  });
}

/** The network may not be used and the cache does not have it. */
export function offlineError(reference: HubReference, settings: HubSettings, cause: unknown): UnfoldError {
  return new UnfoldError('offline', {
    where: `model "${reference.id}@${reference.revision}"`,
    expected: `its files in ${settings.cacheDir}`,
    found: `not there${cause instanceof UnfoldError ? ` (${cause.lesson.expected})` : ''}, and HF_HUB_OFFLINE is set`,
    todo: 'unset HF_HUB_OFFLINE to download it, or copy the cache folder from a machine that has it',
    cause,
  });
}

/** The hub does not answer. */
export function unreachable(url: string, kept: number, cause: unknown): UnfoldError {
  const reason = (cause as Error)?.message || String(cause);
  const rest = kept > 0 ? `; ${kept} bytes are kept and the next attempt goes on from there` : '';
  return new UnfoldError('no-network', {
    where: url,
    expected: 'an answer',
    found: `${reason}${rest}`,
    todo: 'check the network and HTTPS_PROXY, set HF_ENDPOINT to a mirror, or give a local folder',
    cause,
  });
}

/** A name that is neither a folder nor an id. @param folders that are near */
export function notAModel(name: string, folders: readonly string[] = []): UnfoldError {
  const isPath = /[\\/]|^~/.test(name);
  const near = nearest(name, isPath && folders.length > 0 ? folders : [...SHORT_NAMES, ...folders], 2);
  return new UnfoldError('no-model', {
    where: `model "${name}"`,
    expected: 'a folder with config.json and model.safetensors, or a hub id such as openai-community/gpt2',
    found: 'no such folder',
    todo: `${name.startsWith('~') ? 'write the home folder out; ' : ''}check the path; did you mean ${near.join(' or ')}?`,
  });
}

/** A branch that moved while its files were fetched. */
export function changedMeanwhile({ id }: HubReference, place: string): UnfoldError {
  return new UnfoldError('hub-error', {
    where: `model "${id}"`,
    expected: 'all files of one commit',
    found: `${place} moved to another one during the download`,
    todo: 'run the command again',
  });
}
