/** @file `unfold import`: coders of other libraries into Unfold's layout. */
import { type Command, Option } from 'commander';
import { addCoderOptions, coderOptions } from '../coder-options.ts';
import { type CommandSpec, WHOLE_OR_NOT } from '../command.ts';

const command: CommandSpec = {
  name: 'import',
  summary: "bring a coder of another library into Unfold's layout (SAELens 6)",
  description: `Reads coders of SAELens (any version), sparsify, circuit-tracer (sets and cross-layer transcoders),
dictionary_learning and OpenAI, and writes them as SAELens 6 does: cfg.json and sae_weights.safetensors, one folder a coder.
The layout is recognised by its files; files that fit two layouts are refused until --format says which is meant, and so is
every architecture, activation or tensor that is not known. What was written is opened again and compared with the
original on random rows. .pt files are read by a machine that rebuilds tensors only: code in them is refused, never run.

Layouts: saelens, saelens-old, sparsify, circuit-tracer, dictionary_learning, openai. Commands that take a coder
(encode, info, evaluate) open all of them as they are; importing saves the conversion.`,
  examples: [
    [
      'unfold export runs/quickstart/train/run --format sparsify --out sparsify-coder',
      'something to import: the coder of the quickstart (unfold run quickstart) as sparsify has it',
    ],
    ['unfold import sparsify-coder --out imported', 'back again'],
  ],
  afterStop: WHOLE_OR_NOT,
  usesBackend: true,
  places: { reads: ['<source>'], writes: '--out' },
  configure(command: Command) {
    command
      .argument('<source>', 'folder or file of a coder, or of a set of coders')
      .requiredOption('--out <dir>', 'folder to write; for several coders one folder each in it');
    addCoderOptions(command);
    command.addOption(
      new Option('--dtype <name>', 'storage type of the weights (default: as in the source)').choices([
        'float32',
        'float16',
        'bfloat16',
      ]),
    );
  },
  async run([source], options, io) {
    const { importCoders } = await import('../../coders/formats/convert.ts');
    const { convertSummary } = await import('../convert-summary.ts');
    const { out, dtype } = options as { out: string; dtype?: 'float32' };
    const result = await importCoders({ source: source!, out, dtype, ...coderOptions(options) }, io.context);
    io.emit(result);
    if (!io.json) io.print(convertSummary(result, `${source} (${result.format})`));
  },
};

export default command;
