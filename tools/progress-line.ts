/** A line that changes in a terminal; where output is piped, a plain line every few seconds. */
const PLAIN_EVERY_MS = 2_000;

export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  readonly #live: boolean;
  #shown = false;
  #plainMs = Number.NEGATIVE_INFINITY;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
    this.#live = out.isTTY === true;
  }

  /** Shows a state that the next one replaces. */
  update(text: string): void {
    if (this.#live) {
      this.#out.write(`\r\u001b[2K${text.slice(0, Math.max(20, (this.#out.columns || 80) - 1))}`);
      this.#shown = true;
      return;
    }
    const now = performance.now();
    if (now - this.#plainMs < PLAIN_EVERY_MS) return;
    this.#plainMs = now;
    this.#out.write(`${text}\n`);
  }

  /** Writes a line that stays. */
  line(text: string): void {
    this.clear();
    this.#out.write(`${text}\n`);
  }

  /** Takes the changing line away. */
  clear(): void {
    if (this.#shown) this.#out.write("\r\u001b[2K");
    this.#shown = false;
  }
}
