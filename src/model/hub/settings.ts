/**
 * @file Where models come from and where they are kept: the environment variables of Python's huggingface_hub, with
 * its defaults, so that both programs share one cache.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { shownUrl } from '../../shown-url.ts';

/** Settings of the hub client. */
export interface HubSettings {
  /** `HF_ENDPOINT`, without a slash at the end and without credentials. */
  endpoint: string;
  /** The credentials that stood in it, as HTTP has them; sent to the endpoint where there is no token. */
  basic?: string;
  /** `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
  cacheDir: string;
  /** `HF_TOKEN`, else what `hf auth login` wrote. Sent to the endpoint only, never written anywhere. */
  token: string | undefined;
  /** `HF_HUB_OFFLINE`: the network is not touched. */
  offline: boolean;
  /** First pause before another attempt, in milliseconds; doubled each time. */
  retryDelay: number;
}

/** The settings that an environment asks for. */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  return {
    ...endpointOf(env.HF_ENDPOINT || 'https://huggingface.co'),
    cacheDir: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub'),
    token:
      env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || storedToken(env.HF_TOKEN_PATH || join(home, 'token')),
    offline: isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE),
    retryDelay: 500,
  };
}

function endpointOf(text: string): Pick<HubSettings, 'endpoint' | 'basic'> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // An @ behind the host belongs to a password that was not percent-encoded.
  if (!url || !/^https?:$/.test(url.protocol) || /@/.test(url.pathname + url.search + url.hash))
    throw new UnfoldError('bad-setting', {
      where: 'HF_ENDPOINT',
      expected: 'the address of a hub, such as https://huggingface.co',
      found: shownUrl(text),
      todo: 'correct it; in a password, @ / ? # % are written %40 %2F %3F %23 %25',
    });
  const basic = basicOf(url);
  url.username = '';
  url.password = '';
  return { endpoint: url.href.replace(/\/+$/, ''), ...(basic === undefined ? {} : { basic }) };
}

/** Credentials of an address as a header has them. */
export function basicOf({ username, password }: URL): string | undefined {
  if (!username && !password) return undefined;
  const pair = [username, password].map(decodeLeniently).join(':');
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** A percent sign that begins no code stands for itself. */
function decodeLeniently(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isOn(value: string | undefined): boolean {
  return ['1', 'true', 'yes', 'on'].includes((value ?? '').toLowerCase());
}

function storedToken(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
