/** @file Waiting for something to happen, for so long at most. */

/** See the file's comment. */
export class Bell {
  #waiting = new Set<(rung: boolean) => void>();

  /** Ends all waiting. */
  ring(): void {
    for (const end of [...this.#waiting]) end(true);
  }

  /** True when rung, false when the time is over. */
  wait(milliseconds?: number): Promise<boolean> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (rung: boolean) => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        resolve(rung);
      };
      this.#waiting.add(end);
      if (milliseconds !== undefined) timer = setTimeout(() => end(false), milliseconds);
    });
  }
}
