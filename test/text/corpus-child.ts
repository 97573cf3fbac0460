/**
 * @file A process that opens a corpus: `corpus-child.ts CACHE [die]`. Prints `{tokenised, hash, sum}`; with `die` it ends by
 * SIGKILL as soon as it tokenises.
 */
import { silent } from '../../src/context.ts';
import { loadTokenizer } from '../../src/model/tokenizer.ts';
import { openCorpus } from '../../src/text/contexts.ts';

const [cacheDir = '', how] = process.argv.slice(2);
const tokenizer = await loadTokenizer('checkpoints/novels-4l');
let tokenised = false;
const context = silent();
const spec = { dataset: 'datasets/novels-heldout', context_size: 64, pool_tokens: 60_000 };
const corpus = await openCorpus(
  spec,
  tokenizer,
  { cacheDir },
  {
    ...context,
    bar: (label, total, unit) => {
      if (label === 'tokenise') tokenised = true;
      const bar = context.bar(label, total, unit);
      const update = () => {
        if (how === 'die') process.kill(process.pid, 'SIGKILL');
      };
      return { ...bar, update };
    },
  },
);
const sum = corpus.tokensFor(0, corpus.contexts).reduce((total, id) => total + id, 0);
console.log(JSON.stringify({ tokenised, hash: corpus.hash, sum }));
corpus.close();
