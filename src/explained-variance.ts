/** @file The share of variance that a reconstruction explains, with its one rule for rows that do not vary. */

/** Squared distance of a row below which nothing varies. SAELens's. */
const NOTHING = 1e-10;

/**
 * 1 - error / variance. Where the rows do not vary 1 if they are reproduced and 0 if not, as in SAELens.
 * @param error mean squared distance of a row to its reconstruction
 * @param variance mean squared distance of a row to the mean row
 */
export function explainedVariance(error: number, variance: number): number {
  if (variance < NOTHING) return error < NOTHING ? 1 : 0;
  return 1 - error / variance;
}
