/**
 * @file Every architecture Unfold knows, one line each, and the way from a name to what it means. An unknown name is
 * refused and never guessed: a coder read as the wrong architecture gives plausible nonsense.
 */
import { UnfoldError } from '../errors.ts';
import { otherArchitecture } from '../other-names.ts';
import { abstopk } from './abstopk.ts';
import type { Architecture } from './architecture.ts';
import { batchtopk } from './batchtopk.ts';
import { clt } from './clt.ts';
import { crosscoder } from './crosscoder.ts';
import { gated } from './gated.ts';
import { groupmax } from './groupmax.ts';
import { jumprelu } from './jumprelu.ts';
import { matchingPursuit } from './matching-pursuit.ts';
import { matryoshkaBatchtopk } from './matryoshka.ts';
import { standard } from './standard.ts';
import { tanhReLU } from './tanh-relu.ts';
import { temporal } from './temporal.ts';
import { topk } from './topk.ts';
import { transcoders } from './transcoder.ts';
import { skipTranscoder, transcoder } from './transcoder-training.ts';

/** All of them, in the order of help texts. */
export const architectures: readonly Architecture[] = [
  topk,
  batchtopk,
  matryoshkaBatchtopk,
  groupmax,
  abstopk,
  matchingPursuit,
  standard,
  jumprelu,
  gated,
  transcoder,
  skipTranscoder,
  ...transcoders.filter(({ name }) => ![transcoder.name, skipTranscoder.name].includes(name)),
  tanhReLU,
  clt,
  crosscoder,
  temporal,
];

/** The architecture called `name`. @throws UnfoldError `unknown-architecture`; `where` names the file or setting. */
export function architectureNamed(name: unknown, where: string): Architecture {
  const found = architectures.find((architecture) => architecture.name === name);
  if (found) return found;
  throw new UnfoldError('unknown-architecture', {
    where,
    expected: `one of ${architectures.map((a) => a.name).join(', ')}`,
    found: name === undefined ? 'no architecture' : `architecture ${JSON.stringify(name)}`,
    todo:
      name === undefined
        ? 'cfg.json of SAELens 6 and later names its architecture; older layouts have to be converted by SAELens first'
        : otherArchitecture(name)
          ? `write ${otherArchitecture(name)}`
          : 'this architecture cannot be read yet; export the coder as one of those above if it has such a form',
  });
}

/** The trainable architecture called `name`. */
export function trainableNamed(
  name: string,
  where: string,
): Architecture & Required<Pick<Architecture, 'training'>> {
  const architecture = architectureNamed(name, where);
  const { training } = architecture;
  if (training) return { ...architecture, training };
  const trainable = architectures.filter((a) => a.training).map((a) => a.name);
  throw new UnfoldError('unknown-architecture', {
    where,
    expected: `an architecture that can be trained: ${trainable.join(', ')}`,
    found: `${name}, which can be loaded and run only`,
    todo: `choose --architecture ${trainable[0]}`,
  });
}
