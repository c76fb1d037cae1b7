import type { RaftCore, Ready, Role } from "@statemesh/raft";
import type { SimRandom } from "../sim-random.ts";
import type { RaftWorld } from "./raft-node.ts";
import type { RegisterCall, Registers } from "./register-history.ts";

/** Contexts of reads are numbers that come again, as clients' would. Also how many reads may wait. */
export const READ_CONTEXTS = 40;

/** A follower's read, at its leader. */
interface ForeignRead {
  from: number;
  number: number;
}

/** Reads of one replica: asked of the core, or of its leader, then served once their index is applied. */
export class ReplicaReads {
  readonly #id: number;
  readonly #world: RaftWorld;
  readonly #random: SimRandom;
  /** What waits for the core, by context. */
  readonly #asked = new Map<number, RegisterCall | ForeignRead>();
  /** What waits for the leader's answer, by number. */
  readonly #following = new Map<number, RegisterCall>();
  #followingNumber = 0;
  #readable: { index: number; read: RegisterCall }[] = [];

  constructor(id: number, world: RaftWorld, random: SimRandom) {
    this.#id = id;
    this.#world = world;
    this.#random = random;
  }

  /** The process ended. */
  clear(): void {
    this.#asked.clear();
    this.#following.clear();
    this.#readable = [];
  }

  /** A leader asks its quorum, or trusts its lease; another replica asks its leader for the index to wait for. */
  begin(core: RaftCore, read: RegisterCall): void {
    if (core.role === "leader") this.#ask(core, read);
    else if (core.leader !== 0 && this.#following.size < READ_CONTEXTS) {
      this.#following.set(++this.#followingNumber, read);
      this.#world.network.send(this.#id, core.leader, { kind: "read_index", number: this.#followingNumber });
    }
  }

  askFor(core: RaftCore, from: number, number: number): void {
    this.#ask(core, { from, number });
  }

  /** The leader named the index that a read must wait for. */
  answered(number: number, index: number): void {
    const read = this.#following.get(number);
    if (read === undefined) return;
    this.#following.delete(number);
    this.#readable.push({ index, read });
  }

  take({ readStates, abortedReads }: Ready, role: Role): void {
    const { checker, network, recorder } = this.#world;
    for (const { context, index } of readStates) {
      const read = this.#asked.get(context);
      this.#asked.delete(context);
      if (read === undefined) checker.fail("reads", `${this.#id} answers a read ${context} that nobody asked for`);
      else if ("key" in read) this.#readable.push({ index, read });
      else network.send(this.#id, read.from, { kind: "read_at", number: read.number, index });
    }
    for (const context of abortedReads) {
      recorder.sometimes("a read was aborted");
      this.#asked.delete(context);
    }
    if (role !== "leader" && this.#asked.size > 0) checker.fail("reads end with leadership", `${this.#id} leads no more, and ${this.#asked.size} reads wait on, neither answered nor aborted`);
  }

  serve(registers: Registers, applied: number, role: string | undefined): void {
    if (this.#readable.length === 0) return;
    const { history, recorder } = this.#world;
    const waiting = this.#readable;
    this.#readable = waiting.filter(({ index }) => applied < index);
    for (const { index, read } of waiting) {
      if (applied < index) continue;
      const shown = registers.get(read.key);
      recorder.note("read", this.#id, read.key, shown?.index ?? 0);
      if (role !== "leader") recorder.sometimes("a follower answered a read");
      history.answeredRead(this.#id, read, shown, applied);
    }
  }

  #ask(core: RaftCore, read: RegisterCall | ForeignRead): void {
    const context = this.#random.between(1, READ_CONTEXTS);
    if (this.#asked.has(context)) return;
    if (core.readIndex(context) === "ok") this.#asked.set(context, read);
  }
}
