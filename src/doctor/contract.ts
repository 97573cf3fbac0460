/**
 * @file What `unfold doctor` finds: lines, each with what to do if something is wrong.
 */

/** `ok`: as it should be. `info`: optional and absent. `warning`: works, but slower or less. `problem`: does not work. */
export type State = 'ok' | 'info' | 'warning' | 'problem';

/** One line of the diagnosis. */
export interface Finding {
  /** Heading that the line stands under: machine, backends, products, services, text. */
  area: string;
  name: string;
  state: State;
  /** What was found. */
  found: string;
  /** What to do about it; absent if nothing. */
  remedy?: string;
}
