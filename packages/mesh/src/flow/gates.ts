// The doors of a node to the groups: one for single operations and one for transactions each, since these take longer. What comes from
// a home and reaches other groups is counted where it was let in: counted in another group, it would keep out others, and never itself.
import { MeshError, type Operation, type OperationError } from "@statemesh/contract";
import type { PendingOperation } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import { meshErrorOf, operationError } from "../strong/operation-errors.ts";
import { Admission, NodeLoad } from "./admission.ts";

/** Every operation that is checked has a home. */
const NOWHERE = { x: 0, y: 0, z: 0 };

class Gate {
  readonly admission: Admission;
  /** The last refusal: those that follow in the same moment are the same. */
  #refusal: { readonly serverId: number; readonly delayMs: number; readonly error: OperationError } | undefined;

  constructor(admission: Admission) {
    this.admission = admission;
  }

  refuse(groupId: number, serverId: number, delayMs: number): OperationError {
    const last = this.#refusal;
    if (last?.serverId === serverId && last.delayMs === delayMs) return last.error;
    const error = operationError(new MeshError("OVERLOADED", `operations of server ${serverId} come faster than group ${groupId} decides them: ${this.admission.inFlight} are under way on this node`, {
      retryDelayMs: delayMs, metadata: { group_id: String(groupId), server_id: String(serverId) },
    }));
    this.#refusal = { serverId, delayMs, error };
    return error;
  }
}

export class Gates {
  readonly #groups: number;
  readonly #targetMs: number;
  readonly #gates = new Map<number, Gate>();
  readonly #load = new NodeLoad();
  /** Operations that were refused. */
  refused = 0;

  constructor(groups: number, targetMs: number) {
    this.#groups = groups;
    this.#targetMs = targetMs;
  }

  #gate(groupId: number, isTransaction: boolean, nowMs: number): Gate {
    const key = 2 * groupId + (isTransaction ? 1 : 0);
    let gate = this.#gates.get(key);
    if (gate === undefined) this.#gates.set(key, (gate = new Gate(new Admission(this.#targetMs, nowMs, this.#load))));
    return gate;
  }

  /** The door that operations are counted at: of the group of the first one's home, which refuses them. */
  of(operations: readonly PendingOperation[], isTransaction: boolean, nowMs: number): Admission {
    const [first] = operations;
    return this.#gate(groupOf(first?.operation.homeRegion ?? NOWHERE, this.#groups), isTransaction || (first !== undefined && this.#reachesOthers(first)), nowMs).admission;
  }

  /** An operation that other groups decide too takes as long as a transaction, and has room with those. Throws OVERLOADED. */
  check(pending: PendingOperation, nowMs: number): void {
    const refusal = this.#reachesOthers(pending) ? this.refusal(pending.operation, 1, true, nowMs) : undefined;
    if (refusal !== undefined) throw meshErrorOf(refusal);
  }

  #reachesOthers({ touched: { regions } }: PendingOperation): boolean {
    const [home] = regions;
    return home !== undefined && regions.some((region) => groupOf(region, this.#groups) !== groupOf(home, this.#groups));
  }

  /** What stands against operations, judged by the first, before anything is done for them. What has no home is refused by those who check it. */
  refusal({ homeRegion, serverId }: Operation, count: number, isTransaction: boolean, nowMs: number): OperationError | undefined {
    if (homeRegion === undefined) return undefined;
    const groupId = groupOf(homeRegion, this.#groups);
    const gate = this.#gate(groupId, isTransaction, nowMs);
    const delayMs = gate.admission.refusal(serverId, count, nowMs);
    if (delayMs === undefined) return undefined;
    this.refused += count;
    return gate.refuse(groupId, serverId, delayMs);
  }
}
