/** @file What the commands below `unfold jobs` share: the queue's option, and commands to paste that lead to the same queue. */
import type { Command } from 'commander';
import pc from 'picocolors';
import { pasteable } from '../../../invocation.ts';
import type { QueueConnection } from '../../../jobs/redis/open.ts';
import { printable } from '../../../printable.ts';
import { shownUrl } from '../../../shown-url.ts';
import { textTable } from '../../../table.ts';
import type { CommandIO } from '../../command.ts';

/** Adds `--queue`. */
export function queueOption(command: Command): Command {
  return command.option('--queue <url>', 'which Redis (default UNFOLD_QUEUE, else the private one)');
}

/** Opens the queue for as long as `use` needs it. */
export async function withQueue<T>(
  options: Record<string, unknown>,
  io: CommandIO,
  use: (connection: QueueConnection) => Promise<T>,
): Promise<T> {
  const { openQueue } = await import('../../../jobs/redis/open.ts');
  const { refused } = await import('../../../jobs/redis/judge.ts');
  // A Redis that is full is looked at and cleaned with these commands; enqueue and worker say what is wrong with it.
  const connection = await openQueue(options.queue as string | undefined, io.context, { looking: true });
  try {
    return await use(connection);
  } catch (error) {
    throw error instanceof Error ? refused({ shown: connection.url }, error) : error;
  } finally {
    await connection.close();
  }
}

/** The command as it has to be typed, for this queue. */
export function typed(command: string, options: Record<string, unknown>): string {
  const queue = options.queue as string | undefined;
  return pasteable(queue ? `${command} --queue '${shownUrl(queue).replaceAll('***', 'PASSWORD')}'` : command);
}

/** Commands with their meanings, dimmed, as lines. */
export function commandLines(
  commands: readonly (readonly [command: string, meaning: string])[],
  options: Record<string, unknown>,
): string {
  return lines(commands.map(([command, meaning]) => [printable(typed(command, options)), pc.dim(meaning)]));
}

/** A table without a head. */
export function lines(rows: readonly (readonly string[])[]): string {
  return textTable([], rows).replace(/ +$/gm, '');
}

/** `3 jobs`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** The first few of many ids. */
export function some(ids: readonly string[], count = 5): string {
  const more = ids.length > count ? ` and ${ids.length - count} more` : '';
  return `${ids.slice(0, count).join(', ')}${more}`;
}
