/**
 * @file The strongest contexts of every latent in bounded memory: `slots` places a latent, each with an activation, a
 * context and a position. A context counts once, by its strongest position, so that one loud passage cannot fill all
 * places (Neuronpedia and SAEDashboard rank single tokens and have to deduplicate later).
 */

/** One place: the activation at `position` of context `context`. */
export interface Example {
  activation: number;
  context: number;
  position: number;
}

/** Places of `d_sae` latents. */
export class TopExamples {
  readonly slots: number;
  readonly #activation: Float32Array;
  readonly #context: Int32Array;
  readonly #position: Int32Array;

  constructor(d_sae: number, slots: number) {
    this.slots = slots;
    this.#activation = new Float32Array(d_sae * slots);
    this.#context = new Int32Array(d_sae * slots).fill(-1);
    this.#position = new Int32Array(d_sae * slots);
  }

  /** Offers an activation (> 0). Contexts come in ascending order, so the one at hand is told by its number. */
  offer(latent: number, activation: number, context: number, position: number): void {
    const first = latent * this.slots;
    const last = first + this.slots - 1;
    let at = this.#placeOf(first, last, context);
    if (at < 0) {
      if (activation <= this.#activation[last]!) return;
      at = last;
    } else if (activation <= this.#activation[at]!) return;
    // Places are kept in descending order: move the weaker ones down.
    for (; at > first && this.#activation[at - 1]! < activation; at--) this.#copy(at - 1, at);
    this.#activation[at] = activation;
    this.#context[at] = context;
    this.#position[at] = position;
  }

  /** The places of a latent that are taken, strongest first. */
  of(latent: number): Example[] {
    return Array.from({ length: this.slots }, (_, i) => latent * this.slots + i)
      .filter((at) => this.#context[at]! >= 0)
      .map((at) => ({
        activation: this.#activation[at]!,
        context: this.#context[at]!,
        position: this.#position[at]!,
      }));
  }

  #placeOf(first: number, last: number, context: number): number {
    for (let at = first; at <= last; at++) if (this.#context[at] === context) return at;
    return -1;
  }

  #copy(from: number, to: number): void {
    this.#activation[to] = this.#activation[from]!;
    this.#context[to] = this.#context[from]!;
    this.#position[to] = this.#position[from]!;
  }
}
