// Which groups tick, and which are looked at by the next pump: those that something happened to. The others cost nothing.
import type { GroupWrite } from "./host.ts";
import { PeerLiveness } from "./peer-liveness.ts";
import type { GroupReplica } from "./strong/group-replica.ts";
import type { Materializer } from "./strong/materializer.ts";

export class GroupSchedule {
  readonly #materializers: readonly Materializer[];
  /** Groups that tick. The others sleep. */
  readonly #awake: Set<GroupReplica>;
  /** Groups that have something for the next pump. */
  #touched: Set<GroupReplica>;
  /** Which nodes are heard of: groups that sleep are woken when one is not any more, or is again. */
  readonly liveness: PeerLiveness;

  /**
   * @param silentTicks Ticks without word of a node after which it counts as silent.
   * @param materializers By group; none where there is no region store.
   */
  constructor(groups: readonly GroupReplica[], materializers: readonly Materializer[], silentTicks: number) {
    this.#materializers = materializers;
    this.#awake = new Set(groups);
    this.#touched = new Set(groups);
    this.liveness = new PeerLiveness(silentTicks, {
      silent: (peer, ticks) => {
        for (const group of groups) group.nodeSilent(peer, ticks);
      },
      heard: (peer) => {
        for (const group of groups) group.nodeHeard(peer);
      },
    });
  }

  /** Something happened to a group. */
  touch(group: GroupReplica): void {
    this.#awake.add(group);
    this.#touched.add(group);
  }

  /** `votes`: this node may stand for election. */
  tick(votes: boolean): void {
    this.liveness.tick();
    for (const group of this.#awake) {
      group.tick(votes);
      const materializer = group.serves ? this.#materializers[group.groupId] : undefined;
      materializer?.tick();
      // What sleeps and has nothing left to say to the region store.
      if (group.isIdle && materializer?.isIdle !== false) this.#awake.delete(group);
    }
  }

  /** Carries out what follows from everything that happened since the last pump. */
  pump(writes: GroupWrite[], afterPersist: (() => void)[]): void {
    const groups = this.#touched;
    this.#touched = new Set();
    for (const group of groups) group.pump(writes, afterPersist);
  }
}
