/** @file Does the work of a job that is a command of its own (src/jobs/kinds), in its folder or in a copy of it. */
import { basename, dirname } from 'node:path';
import type { StageContext } from '../context.ts';
import { exists } from '../files.ts';
import { formatS3, isRemote, parseS3 } from '../storage/url.ts';
import { withWorkspace } from '../storage/workspace.ts';
import type { ExecuteOptions } from './execute.ts';
import { runDirect } from './kinds/direct.ts';
import { jobKind } from './kinds/index.ts';
import { parseSettings } from './kinds/kind.ts';
import type { DirectJob } from './message.ts';
import type { JobOutcome } from './protocol.ts';
import { removeQueueFile } from './queue-file.ts';
import { assertOut, assertVisible } from './visible.ts';

/** See executeJob. */
export async function executeDirect(
  message: DirectJob,
  { scratch }: ExecuteOptions,
  context: StageContext,
): Promise<JobOutcome> {
  const { stage, out } = message;
  const kind = await jobKind(stage);
  const settings = parseSettings(kind, message.settings);
  await assertVisible(kind.visible(settings), `an input of ${stage}`);
  const place = placeIn(out);
  const own = kind.owns && { own: (name: string) => kind.owns!(settings, name) };
  // Its own folder may be new, but not the one that it is in: that would be one which nobody else sees.
  await assertOut((await exists(out)) ? out : place.out);
  const { result, skipped } = await withWorkspace({ ...place, ...own, scratch }, context, ({ dir }) =>
    runDirect(message, dir, context),
  );
  await removeQueueFile(message);
  return { type: 'done', result, skipped };
}

/** The folder of a job as a folder in another one. */
function placeIn(out: string): { out: string; dir: string } {
  if (!isRemote(out)) return { out: dirname(out), dir: basename(out) };
  const location = parseS3(out);
  const names = location.prefix.split('/');
  const dir = names.pop()!;
  return { out: formatS3({ ...location, prefix: names.join('/') }), dir };
}
