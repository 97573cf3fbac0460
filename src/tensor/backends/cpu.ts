/**
 * @file tfjs's plain JavaScript backend: correct, everywhere, and some hundred times slower than `native`. It is the
 * judge that the others are compared with, and the last resort.
 */
import * as tf from '../tf.ts';
import type { BackendModule } from './contract.ts';

export const cpu: BackendModule = {
  name: 'cpu',
  tfjsName: 'cpu',
  summary: 'plain JavaScript (tfjs-backend-cpu), one thread',
  async availability() {
    return { usable: true, detail: 'plain JavaScript, one thread' };
  },
  async register() {
    await import('@tensorflow/tfjs-backend-cpu');
    // It advertises tfjs-node on first use; `unfold doctor` gives better advice.
    (tf.findBackend('cpu') as { firstUse?: boolean }).firstUse = false;
    return 'plain JavaScript, one thread';
  },
};
