/** @file What the manifest of imported and exported coders is called (written.ts). */

/** Name of the file. */
export const WRITTEN = 'manifest.json';
/** Its `format`. */
export const WRITTEN_FORMAT = 'unfold-coders-1';
