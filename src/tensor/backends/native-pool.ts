/**
 * @file Recycled memory for kernel outputs. A fresh large allocation costs a page fault for every 4 kB that is written,
 * as much time as the arithmetic; a training step that needs the same sizes again and again gets the same memory.
 *
 * Only buffers that the pool made itself come back to it, and only once no tensor and no JavaScript code can see them:
 * {@link BufferPool.escape} marks what `dataSync` handed out, and {@link BufferPool.retain} counts the tensors whose
 * arrays lie in a buffer (a contiguous slice shares its parent's).
 */

/** What the pool holds and has done, for tests and `unfold doctor`. */
export interface PoolStatistics {
  /** Bytes waiting to be used again. */
  idleBytes: number;
  idleBuffers: number;
  /** Requests served from waiting buffers, and by fresh memory. */
  reused: number;
  allocated: number;
}

interface Owned {
  users: number;
  escaped: boolean;
}

/** Below this size fresh memory costs less than keeping books. */
const SMALLEST = 16 * 1024;

/** Buffers by exact size; those that waited longest are given back to the garbage collector first. */
export class BufferPool {
  readonly #limit: number;
  /** Insertion order is age: oldest first. */
  readonly #idle = new Map<number, ArrayBuffer[]>();
  readonly #owned = new Map<ArrayBuffer, Owned>();
  #idleBytes = 0;
  #reused = 0;
  #allocated = 0;

  /** @param limit bytes that may wait unused */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A buffer of exactly `bytes`, with whatever its last user left in it. */
  take(bytes: number): ArrayBuffer {
    if (bytes < SMALLEST) return new ArrayBuffer(bytes);
    const waiting = this.#idle.get(bytes);
    const found = waiting?.pop();
    if (found && waiting!.length === 0) this.#idle.delete(bytes);
    if (found) {
      this.#idleBytes -= bytes;
      this.#reused++;
    } else {
      this.#allocated++;
    }
    const buffer = found ?? new ArrayBuffer(bytes);
    this.#owned.set(buffer, { users: 0, escaped: false });
    return buffer;
  }

  /** A tensor's array lies in `buffer` from now on. Buffers that are not the pool's are none of its business. */
  retain(buffer: ArrayBufferLike): void {
    const owned = this.#owned.get(buffer as ArrayBuffer);
    if (owned) owned.users++;
  }

  /** The tensor is gone; the last one out gives the buffer back, unless JavaScript code may still hold a view. */
  release(buffer: ArrayBufferLike): void {
    const owned = this.#owned.get(buffer as ArrayBuffer);
    if (!owned || --owned.users > 0) return;
    this.#owned.delete(buffer as ArrayBuffer);
    if (!owned.escaped) this.#keep(buffer as ArrayBuffer);
  }

  /** A view was handed to code that may keep it: the buffer is never used again for anything else. */
  escape(buffer: ArrayBufferLike): void {
    const owned = this.#owned.get(buffer as ArrayBuffer);
    if (owned) owned.escaped = true;
  }

  /** True if one tensor alone can see the buffer, so that writing into it surprises nobody. */
  exclusive(buffer: ArrayBufferLike): boolean {
    const owned = this.#owned.get(buffer as ArrayBuffer);
    return owned !== undefined && owned.users === 1 && !owned.escaped;
  }

  statistics(): PoolStatistics {
    let idleBuffers = 0;
    for (const buffers of this.#idle.values()) idleBuffers += buffers.length;
    return { idleBytes: this.#idleBytes, idleBuffers, reused: this.#reused, allocated: this.#allocated };
  }

  /** Gives all waiting memory back. */
  clear(): void {
    this.#idle.clear();
    this.#idleBytes = 0;
  }

  #keep(buffer: ArrayBuffer): void {
    const bytes = buffer.byteLength;
    if (bytes > this.#limit) return;
    while (this.#idleBytes + bytes > this.#limit) this.#dropOldest();
    const waiting = this.#idle.get(bytes) ?? [];
    waiting.push(buffer);
    // A size that is in use moves to the young end.
    this.#idle.delete(bytes);
    this.#idle.set(bytes, waiting);
    this.#idleBytes += bytes;
  }

  #dropOldest(): void {
    const [bytes, buffers] = this.#idle.entries().next().value as [number, ArrayBuffer[]];
    buffers.shift();
    if (buffers.length === 0) this.#idle.delete(bytes);
    this.#idleBytes -= bytes;
  }
}
