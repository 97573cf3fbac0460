/** @file Modules of this folder that are loaded into other processes before everything else. */

/** Environment in which a process and its children load `name` (`strike.mjs`) first, with its settings. */
export function preload(name: string, settings: Record<string, string>): NodeJS.ProcessEnv {
  const url = new URL(name, import.meta.url).href;
  return { NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import ${url}`.trim(), ...settings };
}
