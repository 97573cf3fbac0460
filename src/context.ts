/**
 * @file What a stage is given besides its settings: where to report progress, where to warn, and how it is told to
 * stop. Every stage runs with {@link silent} in tests and as a library, and with the terminal's when a person watches.
 */

/** One line of progress: a bar with rate and ETA on a terminal, a plain line now and then elsewhere. */
export interface ProgressBar {
  /** `done` is absolute, in the bar's unit; `note` is shown beside it; `facts` are numbers for machines (loss, l0, …). */
  update(done: number, note?: string, facts?: Readonly<Record<string, number>>): void;
  /** Ends the line; `note` replaces the bar with a summary. */
  finish(note?: string): void;
}

/** What a stage may use of the world around it. */
export interface StageContext {
  /** Starts a bar: `bar('harvest', 1_000_000, 'tokens', 250_000)` when a quarter is already there. */
  bar(label: string, total: number, unit: string, done?: number): ProgressBar;
  /** A line of information for the person watching. */
  note(message: string): void;
  /** A line that must not be overlooked. */
  warn(message: string): void;
  /** Aborted when the user presses Ctrl-C or a job is cancelled: stages finish or checkpoint the unit in hand. */
  signal: AbortSignal;
}

/** Reports nothing and never stops. */
export function silent(signal: AbortSignal = new AbortController().signal): StageContext {
  const bar: ProgressBar = { update() {}, finish() {} };
  return { bar: () => bar, note() {}, warn() {}, signal };
}

/**
 * Between two units of work: lets the signal in, without which work that only computes hears nothing of Ctrl-C.
 * @throws the signal's reason
 */
export async function breathe({ signal }: Pick<StageContext, 'signal'>): Promise<void> {
  await new Promise(setImmediate);
  signal.throwIfAborted();
}

/** The same context, stopped by `signal` too. */
export function alsoStoppedBy(signal: AbortSignal, context: StageContext): StageContext {
  return {
    bar: (label, total, unit, done) => context.bar(label, total, unit, done),
    note: (message) => context.note(message),
    warn: (message) => context.warn(message),
    signal: AbortSignal.any([context.signal, signal]),
  };
}
