/**
 * @file The children of a worker: at most one for each slot. One that did its job well gets the next; one that leaked, grew
 * too large, failed or was stopped is ended, and its memory goes with it.
 */
import { Child } from './child.ts';

/** What children are like. */
export interface ChildrenOptions {
  backend: string;
  /** Bytes above which a child is not used again. */
  memoryLimit: number;
}

/** See the file's comment. */
export class Children {
  readonly #options: ChildrenOptions;
  readonly #idle: Child[] = [];
  readonly #all = new Set<Child>();

  constructor(options: ChildrenOptions) {
    this.#options = options;
  }

  /** Bytes of memory of all of them. */
  get rss(): number {
    return [...this.#all].reduce((sum, child) => sum + child.rss, 0);
  }

  /** @throws UnfoldError of Child.start */
  async take(): Promise<Child> {
    for (let child = this.#idle.pop(); child; child = this.#idle.pop()) if (child.alive) return child;
    const child = await Child.start(this.#options.backend);
    this.#all.add(child);
    void child.gone.then(() => this.#all.delete(child));
    return child;
  }

  /** Gives a child back after a job; `again`: it may have another. */
  give(child: Child, again: boolean): void {
    if (again && child.alive && child.rss <= this.#options.memoryLimit) this.#idle.push(child);
    else void child.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((child) => child.close()));
  }

  kill(): void {
    for (const child of this.#all) child.kill();
  }
}
