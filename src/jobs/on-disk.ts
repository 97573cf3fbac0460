/** @file Whether the files of queued work are there, by looking at the folders alone. */
import { finishedManifest, stageDirectory } from '../pipeline/run-stage.ts';
import { stageNamed } from '../pipeline/stages/index.ts';
import { isRemote } from '../storage/url.ts';
import { type JobTree, messagesOf } from './flow.ts';
import { jobKind } from './kinds/index.ts';
import { parseSettings } from './kinds/kind.ts';
import type { DirectJob, JobMessage } from './message.ts';
import { storedFinish } from './stored-stage.ts';

/** True if nothing of the tree is left to do. */
export async function isFinished(tree: JobTree): Promise<boolean> {
  for (const message of messagesOf(tree)) if (!(await hasFiles(message))) return false;
  return true;
}

/** True if the files of this job are there; of the end of a flow: always, for it has none. */
export async function hasFiles(message: JobMessage): Promise<boolean> {
  const { out } = message;
  if (message.type === 'pipeline') return true;
  if (message.type === 'direct') return hasDirect(message);
  const { stage: name, key, settings } = message;
  const dir = stageDirectory(out, name, key);
  if (isRemote(out)) return (await storedFinish(out, `${name}-${key.slice(0, 8)}`, key)) !== undefined;
  const stage = stageNamed(name);
  const parsed = stage?.settings.safeParse(settings);
  if (!stage || !parsed?.success) return false;
  return (await finishedManifest({ stage, settings: parsed.data }, dir, key)) !== undefined;
}

/** As the kind of job sees it; when it does not, the job is run and skips what is done. */
async function hasDirect({ stage, settings, out }: DirectJob): Promise<boolean> {
  if (isRemote(out)) return false;
  const kind = await jobKind(stage);
  return (await kind.finished?.(parseSettings(kind, settings), out)) ?? false;
}
