/**
 * @file Passwords on the command line (`--queue redis://:password@host`): everybody on the machine sees the arguments of a
 * process, and usage errors repeat them. Both show the URLs without their credentials.
 */
import { shownText, shownUrl } from '../shown-url.ts';

/** Arguments that must not be shown, and what is shown in their place. */
const hidden = new Map<string, string>();

/** Remembers them, and gives the process a title without them. */
export function hideSecretArguments(argv: readonly string[]): void {
  const shown = argv.map(shownArgument);
  for (const [i, argument] of argv.entries()) if (shown[i] !== argument) hidden.set(argument, shown[i]!);
  // What ps shows is overwritten, as far as the new text goes: it is never longer than the old one.
  if (hidden.size > 0) process.title = `unfold ${shown.join(' ')}`;
}

/** Text that may repeat an argument (commander's usage errors, stack traces), fit to be shown. */
export function withoutSecretArguments(text: string): string {
  let out = text;
  for (const [argument, shown] of hidden) out = out.replaceAll(argument, shown);
  return shownText(out);
}

/** `--queue=URL`, or a URL by itself. */
function shownArgument(argument: string): string {
  const [, option = '', value = argument] = /^(--[\w-]+=)(.*)$/s.exec(argument) ?? [];
  return value.includes('://') && value.includes('@') ? option + shownUrl(value) : argument;
}
