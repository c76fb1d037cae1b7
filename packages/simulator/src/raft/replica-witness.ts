import type { Configuration, RaftCore } from "@statemesh/raft";
import type { GroupUpdate, RecoveredGroup } from "@statemesh/wal";
import type { Recorder } from "../recorder.ts";
import type { Observed, RaftChecker } from "./raft-checker.ts";
import { ShadowLog } from "./shadow-log.ts";

/** Follows what one replica hands to its log, what the log says is durable, and what a restart finds. */
export class ReplicaWitness implements Observed {
  readonly id: number;
  readonly #recorder: Recorder;
  readonly #checker: RaftChecker;
  handed: ShadowLog;
  stable: ShadowLog;
  /** Handed to the log and not durable, in order. */
  #pending: GroupUpdate[] = [];

  /** @param bootstrap Undefined for a node that joins. */
  constructor(id: number, bootstrap: Configuration | undefined, recorder: Recorder, checker: RaftChecker) {
    this.id = id;
    this.#recorder = recorder;
    this.#checker = checker;
    this.handed = new ShadowLog(bootstrap);
    this.stable = this.handed.copy();
  }

  get isWriting(): boolean {
    return this.#pending.length > 0;
  }

  hand(update: GroupUpdate, core: RaftCore | undefined): void {
    if (core !== undefined) this.#checker.handed(this, core, update);
    this.handed.apply(update);
    this.#pending.push(update);
  }

  /** The oldest update that was pending is durable. */
  stored(): void {
    const update = this.#pending.shift();
    if (update === undefined) return this.#checker.fail("acknowledged once", `${this.id} is told of a write that it did not ask for`);
    this.stable.apply(update);
    this.#checker.stored(this);
  }

  /** What the log holds after a restart must be what it said is durable, and maybe some of what it was handed since, in order. */
  recovered(group: RecoveredGroup): void {
    const pending = this.#pending;
    this.#pending = [];
    const state = this.stable.copy();
    const first = state.differs(group);
    let difference = first;
    let taken = 0;
    for (; difference !== undefined && taken < pending.length; taken++) {
      state.apply(pending[taken]!);
      difference = state.differs(group);
    }
    if (difference !== undefined) this.#checker.fail("acknowledged is durable", `${this.id} restarts with ${first}, which no write under way explains`);
    if (taken < pending.length) this.#recorder.sometimes("a write under way was lost in a crash");
    if (taken > 0) this.#recorder.sometimes("a write under way survived a crash");
    this.stable = state;
    this.handed = state.copy();
    this.#checker.stored(this);
  }
}
