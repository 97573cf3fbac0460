/** @file `unfold copy`: a run from a bucket to a folder, or the other way round. */
import type { Command } from 'commander';
import type { CommandSpec } from '../command.ts';
import { compact } from '../terminal.ts';

const command: CommandSpec = {
  name: 'copy',
  summary: 'copy a run between a folder and an S3-compatible store',
  description: `Copies all files of one place to another; what is there already (by name, size and SHA-256) is not copied again, so
a copy that was stopped goes on when it is started again. A stage's stage.json comes last: half a copy never counts as a
finished stage. Unfinished files, locks and symbolic links are left out; the links harvest, train … of a run's folder are
made again. Nothing is ever removed but what killed copies left unfinished: in a folder, and of uploads to a bucket that were
begun on this machine. (Against those of machines that are gone, give the bucket a rule: AbortIncompleteMultipartUpload.)
What is not what the manifests beside it say is copied as it is, and named.

A place is a path, or s3://BUCKET/PREFIX; for a server that is not Amazon's, set AWS_ENDPOINT_URL_S3 or write
s3://BUCKET/PREFIX?endpoint=http://HOST:PORT. Credentials come from the environment (AWS_ACCESS_KEY_ID …), ~/.aws, or the
machine's role.`,
  examples: [
    ['unfold run pipelines/quickstart.yaml --out runs/quickstart', 'something to copy'],
    [
      'unfold copy runs/quickstart s3://my-bucket/runs/quickstart',
      'a run to a bucket, for workers of other machines',
    ],
    ['unfold copy s3://my-bucket/runs/quickstart runs/fetched', 'and a run that they made to a folder'],
  ],
  afterStop: 'what was copied stays, and the same command copies the rest',
  places: { reads: ['<from>'], writes: '<to>' },
  configure(command: Command) {
    command
      .argument('<from>', 'path or s3:// URL of what is to be copied')
      .argument('<to>', 'path or s3:// URL of where it goes');
  },
  async run([from = '', to = ''], _options, io) {
    const { copyPlace } = await import('../../storage/copy.ts');
    const result = await copyPlace(from, to, io.context);
    io.emit(result);
    const { files, bytes, copied_files, copied_bytes, left_out, links } = result;
    const fresh =
      copied_files === files ? 'all copied now' : `${copied_files} (${compact(copied_bytes)}B) copied now`;
    io.print(`${files} files, ${compact(bytes)}B, in ${result.to}; ${fresh}`);
    if (links.length > 0) io.print(`linked again: ${links.join(', ')}`);
    if (left_out.length > 0) io.print(`symbolic links, left out: ${left_out.join(', ')}`);
  },
};

export default command;
