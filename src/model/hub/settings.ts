/**
 * @file Where models come from and where they are kept: the environment variables of Python's huggingface_hub, with
 * its defaults, so that both programs share one cache.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Settings of the hub client. */
export interface HubSettings {
  /** `HF_ENDPOINT`, without a slash at the end. */
  endpoint: string;
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
    endpoint: (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
    cacheDir: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub'),
    token:
      env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || storedToken(env.HF_TOKEN_PATH || join(home, 'token')),
    offline: isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE),
    retryDelay: 500,
  };
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
