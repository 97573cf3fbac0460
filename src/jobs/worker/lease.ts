/**
 * @file How long a job is ours. The worker renews the job's lock in Redis and tells its child until when it lasts, by a
 * clock that both share. The child stops shortly before that with a checkpoint, publishes nothing after it, and is killed
 * by its own watchdog if it does neither: by the time that another worker can have the job, this one is out of the way.
 */
import { UnfoldError } from '../../errors.ts';
import { SEQUENCE, UNTIL } from './watchdog.ts';

/** Milliseconds of the machine's monotonic clock, the same for all processes on it; no one sets it. */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** A child's lease on the job in hand. */
export class Lease {
  /** Shared with the watchdog. */
  readonly cells = new BigInt64Array(new SharedArrayBuffer(16));
  #length = 0;

  /** `until` in microseconds of process.hrtime. */
  begin(sequence: number, until: number): void {
    this.#length = until / 1000 - monotonic();
    Atomics.store(this.cells, UNTIL, BigInt(Math.floor(until)));
    Atomics.store(this.cells, SEQUENCE, BigInt(sequence));
  }

  end(): void {
    Atomics.store(this.cells, SEQUENCE, 0n);
  }

  /** Milliseconds left; negative when it has lapsed. */
  get left(): number {
    return Number(Atomics.load(this.cells, UNTIL)) / 1000 - monotonic();
  }

  /** True when nothing was renewed for so long that it is time for a checkpoint. */
  get ending(): boolean {
    return this.left < Math.min(0.2 * this.#length, 10_000);
  }

  /** @throws UnfoldError `stopped` if the job is not ours any more */
  assert(): void {
    if (Atomics.load(this.cells, SEQUENCE) !== 0n && this.left > 0) return;
    throw new UnfoldError('stopped', {
      where: 'publishing a file of a job',
      expected: 'the job to be this process’s still',
      found: 'a lease that was not renewed in time: another worker may have the job',
      todo: 'nothing: the job goes on elsewhere, from its last checkpoint',
    });
  }
}
