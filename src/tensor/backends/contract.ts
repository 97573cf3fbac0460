/**
 * @file What a backend is to Unfold: a name, a cheap look at whether it can run here, and a function that registers it
 * with tfjs. One file per backend beside this one; `table.ts` lists them; `../backend.ts` chooses.
 */

/** The names `--backend` takes, besides `auto`. */
export const BACKEND_NAMES = ['tensorflow', 'native', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKEND_NAMES)[number];

/** What a look at a backend finds without loading anything heavy. */
export interface Availability {
  /** False when {@link BackendModule.register} would certainly throw. */
  usable: boolean;
  /** What it is, or why it cannot run: one line. */
  detail: string;
  /** What to do so that it runs: a command that can be pasted, or a sentence. */
  remedy?: string;
}

/** One backend. */
export interface BackendModule {
  name: BackendName;
  /** What `tf.setBackend` calls it. */
  tfjsName: string;
  /** One line for tables: what the backend is. */
  summary: string;
  availability(): Promise<Availability>;
  /**
   * Loads the backend and registers it with Unfold's tfjs; a second call does nothing.
   * @returns what was found while loading (version, threads, device): one line
   * @throws UnfoldError `no-backend` with the remedy
   */
  register(): Promise<string>;
  /** Lets go of a device that would keep the process alive; the backend can be registered again. */
  close?(): Promise<void>;
}
