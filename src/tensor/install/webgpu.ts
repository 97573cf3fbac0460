/**
 * @file Installs the `webgpu` backend: Dawn (one prebuilt library per platform inside the npm package) and tfjs's
 * backend. No install script is run; 90 MB.
 */
import type { StageContext } from '../../context.ts';
import { exists } from '../../files.ts';
import { fillFolder, npmInstall } from './own-folder.ts';
import { backendFolder, RECORD } from './paths.ts';
import { TFJS_VERSION } from './tensorflow.ts';

/** The newest Dawn that tfjs 4.22's backend was tried with. */
export const DAWN_VERSION = '0.4.0';

/** What was installed. */
export interface InstalledWebGpu {
  packages: string[];
  folder: string;
  /** True if nothing had to be done. */
  present?: boolean;
}

/**
 * Installs the packages; whether a GPU answers is found when the backend is used (`unfold doctor` says it).
 * @throws UnfoldError `npm-failed`, `disk-full`
 */
export async function installWebGpu(
  options: { dir?: string; force?: boolean },
  context: StageContext,
): Promise<InstalledWebGpu> {
  const folder = options.dir ?? backendFolder('webgpu');
  const packages = [`webgpu@${DAWN_VERSION}`, `@tensorflow/tfjs-backend-webgpu@${TFJS_VERSION}`];
  if (!options.force && (await exists(`${folder}/${RECORD}`))) return { packages, folder, present: true };
  return fillFolder(folder, async (part) => {
    await npmInstall(part, packages, context);
    return { packages, folder };
  });
}
