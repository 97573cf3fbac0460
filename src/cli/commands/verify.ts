/** @file `unfold verify`: whether files still are what was written. */
import type { Command } from 'commander';
import pc from 'picocolors';
import type { Verified } from '../../verify/verify.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';
import { compact } from '../terminal.ts';

const command: CommandSpec = {
  name: 'verify',
  summary: 'check every byte of runs, shards, coders, checkpoints and tokens against their hashes',
  description: `Reads all files below DIR and holds them against the SHA-256 that was written when they were made: in stage.json of a
stage, manifest.json of a run or a harvest, the sidecar of a shard, state.json of a checkpoint, the header of cached tokens.
Says which files are damaged and what makes them again, and changes nothing. Exit code 1 if anything is damaged.

Other commands look, too, at what they use: a finished stage or run counts only while its files agree (small ones are hashed,
of what is beyond 256 MB only the size is looked at), shards are checked block by block, coders when they are loaded. Files
that nobody lists (coders of other libraries, data sets) have to be whole in their form; they are counted apart.`,
  examples: [
    ['unfold verify runs/quickstart', 'all stages of a run'],
    ['unfold verify datasets/mlp2 runs/mlp2 --json', 'shards and a training run, as JSON'],
    ['unfold verify ~/.cache/unfold', 'tokens that are kept between runs'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command.argument('<dirs...>', 'folders of runs, stages, shards, coders, checkpoints or tokens');
  },
  async run(dirs, _options, io) {
    const { verify } = await import('../../verify/verify.ts');
    const verified = await verify(dirs, io.context);
    io.emit(verified);
    io.print(report(verified));
    if (!verified.ok) process.exitCode = 1;
  },
};

export default command;

function report({ files, bytes, damaged, unlisted, passing }: Verified): string {
  const lines = damaged.flatMap(({ path, found, of, todo }) => [
    `${pc.red('✗')} ${pc.bold(path)} (of ${of}): ${found}`,
    `  ${pc.dim('what to do:')} ${todo}`,
  ]);
  const rest = [
    ...(unlisted.length > 0 ? [`${unlisted.length} more of which no hash was written`] : []),
    ...(passing.length > 0 ? [`${passing.length} unfinished or locks`] : []),
  ];
  const checked = `${files} files, ${compact(bytes)}B, checked${rest.length > 0 ? `; ${rest.join('; ')}` : ''}`;
  const verdict =
    damaged.length === 0
      ? pc.green(files > 0 ? 'all as they were written' : 'nothing to hold them against')
      : pc.red(`${damaged.length} damaged`);
  return [...lines, `${checked}: ${verdict}`].join('\n');
}
