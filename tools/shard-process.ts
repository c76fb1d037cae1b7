/** A game shard as a real process: told what to do, killed, stopped and let go on. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Region } from "@statemesh/contract";
import { nodeProgram } from "./service-process.ts";
import type { Order, ShardNews, ShardReport, ShardSpec } from "./shard-orders.ts";

type NewsOf<Kind extends ShardNews["news"]> = Extract<ShardNews, { readonly news: Kind }>;

export class ShardProcess {
  readonly serverId: number;
  /** Everything that happened to it, in order. */
  readonly log: ShardNews[] = [];
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (answer: NewsOf<"answer">) => void>();
  readonly #listeners = new Set<(news: ShardNews) => void>();
  #orders = 0;

  private constructor(serverId: number, child: ChildProcess) {
    this.serverId = serverId;
    this.#child = child;
    child.on("message", (news: ShardNews) => {
      if (news.news === "answer") {
        this.#answers.get(news.to)?.(news);
        this.#answers.delete(news.to);
        return;
      }
      this.log.push(news);
      for (const listen of this.#listeners) listen(news);
    });
  }

  /** Started and registered. */
  static async start(spec: ShardSpec): Promise<ShardProcess> {
    const child = fork(join(import.meta.dirname, "shard-child.ts"), { execPath: nodeProgram(), execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const shard = new ShardProcess(spec.serverId, child);
    await shard.#tell({ order: "start", spec });
    return shard;
  }

  async #tell(order: Order): Promise<NewsOf<"answer">> {
    const to = ++this.#orders;
    const answer = await new Promise<NewsOf<"answer">>((resolve) => {
      this.#answers.set(to, resolve);
      this.#child.send({ to, order });
    });
    if (answer.error !== "") throw new Error(`shard ${this.serverId}: ${order.order}: ${answer.error}`);
    return answer;
  }

  async acquire(region: Region): Promise<void> {
    await this.#tell({ order: "acquire", region });
  }

  async build(region: Region, everyMs: number): Promise<void> {
    await this.#tell({ order: "build", region, everyMs });
  }

  async rest(): Promise<void> {
    await this.#tell({ order: "rest" });
  }

  async adopt(region: Region, actions: readonly number[]): Promise<void> {
    await this.#tell({ order: "adopt", region, actions });
  }

  /** Resolves with the phase that it ended in. */
  async handOver(region: Region, toServerId: number, timeoutMs = 10_000): Promise<number> {
    return (await this.#tell({ order: "hand over", region, toServerId, timeoutMs })).phase ?? 0;
  }

  async stall(at: "load" | "drain"): Promise<void> {
    await this.#tell({ order: "stall", at });
  }

  async report(): Promise<ShardReport> {
    const { report } = await this.#tell({ order: "report" });
    if (report === undefined) throw new Error(`shard ${this.serverId} has no report`);
    return report;
  }

  /** Calls `listen` with whatever happens from now on. */
  onNews(listen: (news: ShardNews) => void): void {
    this.#listeners.add(listen);
  }

  /** The news of a kind, the newest last. */
  newsOf<Kind extends ShardNews["news"]>(kind: Kind): NewsOf<Kind>[] {
    return this.log.filter((news): news is NewsOf<Kind> => news.news === kind);
  }

  /** Stops the process where it stands; it knows nothing of it. */
  pause(): void {
    this.#child.kill("SIGSTOP");
  }

  goOn(): void {
    this.#child.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
