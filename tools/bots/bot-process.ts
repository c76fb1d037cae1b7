/** A shard of bots as a real process. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { nodeProgram } from "../service-process.ts";
import type { BooksPart } from "./bot-books.ts";
import type { BotNews, BotOrder, BotShardReport, BotShardSpec } from "./bot-orders.ts";

type Answer = Extract<BotNews, { readonly news: "answer" }>;

/** Who started a shard. */
export interface BotListener {
  /** About once a second: what it counted. */
  onBooks(part: BooksPart): void;
  /** It ended without being asked to. */
  onCrash(how: string): void;
}

export class BotProcess {
  readonly number: number;
  /** Players that it simulates, as it said last. */
  players = 0;
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #orders = 0;
  #expected = false;

  private constructor(number: number, child: ChildProcess, { onBooks, onCrash }: BotListener) {
    this.number = number;
    this.#child = child;
    child.on("message", (news: BotNews) => {
      if (news.news === "books") {
        this.players = news.part.counts.players;
        return onBooks(news.part);
      }
      this.#answers.get(news.to)?.(news);
      this.#answers.delete(news.to);
    });
    child.once("exit", (code, signal) => {
      const how = `its process ended (${signal ?? `status ${code}`})`;
      for (const [to, answer] of this.#answers) answer({ news: "answer", to, error: how });
      this.#answers.clear();
      if (!this.#expected) onCrash(`bot shard ${number}: ${how}`);
    });
  }

  /** Started, registered, with its leases, and listening. */
  static async start(spec: BotShardSpec, listener: BotListener): Promise<BotProcess> {
    const child = fork(join(import.meta.dirname, "bot-child.ts"), { execPath: nodeProgram(), execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const shard = new BotProcess(spec.number, child, listener);
    try {
      await shard.tell({ order: "prepare", spec });
    } catch (error) {
      await shard.end();
      throw error;
    }
    return shard;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Throws where the order could not be followed. */
  async tell(order: BotOrder): Promise<BotShardReport | undefined> {
    const to = ++this.#orders;
    const answer = await new Promise<Answer>((resolve) => {
      this.#answers.set(to, resolve);
      if (this.#child.connected) this.#child.send({ to, order });
      else resolve({ news: "answer", to, error: "its process has ended" });
    });
    if (answer.error !== "") throw new Error(`bot shard ${this.number}: ${order.order}: ${answer.error}`);
    return answer.report;
  }

  /** Ends the process, whatever it is at. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#expected = true;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
