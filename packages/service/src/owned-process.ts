import type { Logger } from "./logger.ts";

/**
 * The process of a service. SIGTERM and SIGINT stop it, exit code 0; the second signal ends it at once, exit code
 * 130 or 143 as a shell would say; an error that nobody caught is logged and ends it with exit code 1.
 */
export class OwnedProcess {
  readonly #log: Logger;
  #stop: () => Promise<void> = () => Promise.resolve();
  #signals = 0;
  #isOwned = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Takes over the signals of this process. Called again, another `stop` takes the place of the one before. */
  stopWith(stop: () => Promise<void>): void {
    this.#stop = stop;
    if (this.#isOwned) return;
    this.#isOwned = true;
    process.on("SIGTERM", () => this.#signalled("SIGTERM", 143));
    process.on("SIGINT", () => this.#signalled("SIGINT", 130));
    process.on("uncaughtException", (error) => this.#defect(error, "uncaught exception"));
    process.on("unhandledRejection", (error) => this.#defect(error, "unhandled rejection"));
  }

  #signalled(signal: string, forcedCode: number): void {
    this.#signals++;
    if (this.#signals > 1) {
      this.#log.warn({ signal }, "second signal: ending at once");
      process.exit(forcedCode);
    }
    this.#log.info({ signal }, "signal");
    this.#stop().then(
      () => process.exit(0),
      (error: unknown) => this.#defect(error, "shutdown failed"),
    );
  }

  #defect(error: unknown, what: string): void {
    this.#log.fatal({ err: error }, what);
    process.exit(1);
  }
}
