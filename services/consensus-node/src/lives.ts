// A process that starts anew without ending: when the cluster gives a node its place, it is another node from then on.
import type { OwnedProcess, RunningServer } from "@statemesh/service";

export class Lives {
  readonly #owner: OwnedProcess | undefined;
  readonly #ended: () => void;
  readonly #stopped: Promise<void>;
  #resolveStopped: () => void = () => undefined;
  #current: RunningServer | undefined;
  /** One turn after the other. */
  #turn: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | undefined;

  /** @param ended Called when the last life is over. */
  constructor(owner: OwnedProcess | undefined, ended: () => void) {
    this.#owner = owner;
    this.#ended = ended;
    this.#stopped = new Promise((resolve) => (this.#resolveStopped = resolve));
  }

  /** Begins the first life. What comes back stands for all of them. */
  async first(begin: () => Promise<RunningServer>): Promise<RunningServer> {
    const server = await begin();
    this.#take(server);
    const { port, address, metricsPort, log, registry } = server;
    return { port, address, metricsPort, log, registry, stop: async () => this.#stop(), stopped: this.#stopped };
  }

  /** Ends the life that runs, in order, and begins the next. */
  again(begin: () => Promise<RunningServer>): void {
    this.#turn = this.#turn.then(async () => this.#turnOver(begin));
  }

  async #turnOver(begin: () => Promise<RunningServer>): Promise<void> {
    if (this.#stopping !== undefined) return;
    try {
      await this.#current?.stop();
      this.#take(await begin());
    } catch (error) {
      // As at the start of the process.
      this.#current?.log.fatal({ err: error }, "cannot start anew");
      if (this.#owner !== undefined) process.exit(1);
    }
  }

  #take(server: RunningServer): void {
    this.#current = server;
    this.#owner?.stopWith(async () => this.#stop());
  }

  async #stop(): Promise<void> {
    this.#stopping ??= this.#turn
      .then(async () => this.#current?.stop())
      .finally(() => {
        this.#ended();
        this.#resolveStopped();
      });
    return this.#stopping;
  }
}
