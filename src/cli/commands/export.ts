/** @file `unfold export`: coders in the layouts of other libraries. */
import { type Command, Option } from 'commander';
import { type CommandSpec, WHOLE_OR_NOT } from '../command.ts';
import { natural } from '../values.ts';

const command: CommandSpec = {
  name: 'export',
  summary: 'write coders as SAELens, sparsify or circuit-tracer have them',
  description: `Takes coders in any layout (finished runs, a sweep's folder, sets; see unfold import --help) and writes them in
another: saelens (6), sparsify (1.x: TopK and GroupMax, transcoders, skips) or circuit-tracer (0.5: a set of transcoders of
all layers, or a cross-layer transcoder, with config.yaml). Exactly or not at all: what a layout cannot express is refused
with the reason. What was written is opened again and compared with the original on random rows.`,
  examples: [
    [
      'unfold export runs/quickstart/train/run --format saelens --out saelens-coder --dtype float16',
      'the coder of the quickstart (unfold run quickstart) in half the bytes',
    ],
    [
      'unfold export runs/quickstart/train/run --format sparsify --out sparsify-h1',
      'the same as sparsify has it: Sae.load_from_disk("sparsify-h1/h.1")',
    ],
  ],
  afterStop: WHOLE_OR_NOT,
  usesBackend: true,
  modes: {
    of: ({ format }) => `--format ${format}`,
    always: ['--format', '--out', '--layer', '--hook', '--name', '--dtype'],
    takes: {
      '--format saelens': [],
      '--format sparsify': ['--hookpoint'],
      '--format circuit-tracer': ['--scan'],
    },
  },
  places: { reads: ['<coders>'], writes: '--out' },
  configure(command: Command) {
    command
      .argument('<coders...>', 'coders, sets, or folders of coders')
      .addOption(
        new Option('--format <name>', 'layout to write')
          .choices(['saelens', 'sparsify', 'circuit-tracer'])
          .makeOptionMandatory(),
      )
      .requiredOption('--out <dir>', 'folder to write')
      .option('--layer <n>', 'of sets: the coder of this layer only', natural)
      .option('--hook <name>', 'of sets: the coders that read or write this hook only')
      .option('--name <name>', 'of sets: the coder of this name only')
      .option('--hookpoint <name>', "sparsify: the module's name, where it does not follow from the hook")
      .option('--scan <name>', 'circuit-tracer: scan of config.yaml')
      .addOption(
        new Option('--dtype <name>', 'storage type of the weights (default: as in the source)').choices([
          'float32',
          'float16',
          'bfloat16',
        ]),
      );
  },
  async run(coders, options, io) {
    const { exportCoders } = await import('../../coders/formats/convert.ts');
    const { convertSummary } = await import('../convert-summary.ts');
    const { format, out, layer, hook, name, hookpoint, scan, dtype } = options as Record<string, string> & {
      layer?: number;
      dtype?: 'float32';
    };
    const result = await exportCoders(
      { coders, format: format!, out: out!, layer, hook, name, hookpoint, scan, dtype },
      io.context,
    );
    io.emit(result);
    if (!io.json) io.print(convertSummary(result, `as ${result.format}`));
  },
};

export default command;
