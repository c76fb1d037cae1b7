// States that merge, as the committed logs tell of them: what stands is what all accepted updates make together, in whatever order they
// are taken, and however what each server wrote is joined.
import { Outcome } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import { canonicalText, type Json, type MergeFunction, mergeFunctionOf, type Origin, parseJson } from "@statemesh/merge";
import type { Policy } from "@statemesh/world";

interface Update {
  readonly content: Json;
  readonly origin: Origin;
}

export interface SentWrite {
  readonly type: string;
  readonly entityId: string;
  readonly state: Uint8Array;
}

/** An entity since it was last written anew. */
interface Merged {
  readonly merge: MergeFunction<unknown>;
  readonly updates: Update[];
  /** The log has the state with all of them. */
  isWritten: boolean;
  /** Of all updates, in the order of the log. */
  state: unknown;
  /** What stands, in canonical form. */
  text: string;
}

export class MergeBook {
  readonly #policy: Policy;
  readonly #sentOf: (operationId: string) => SentWrite | undefined;
  readonly #fail: (kind: string, message: string) => void;
  /** By group, kind and entity. */
  readonly #merged = new Map<string, Merged>();

  /** `sentOf`: what the caller of an operation sent, where it writes an entity of a studio's own type. */
  constructor(policy: Policy, sentOf: (operationId: string) => SentWrite | undefined, fail: (kind: string, message: string) => void) {
    this.#policy = policy;
    this.#sentOf = sentOf;
    this.#fail = fail;
  }

  /** It came into force, or was rejected. Of several updates of an entity in one entry the last alone has to write the state down. */
  decided(groupId: number, index: number, { operationId, outcome, serverId, stamp, region, effects }: DecidedOperation): void {
    const sent = this.#sentOf(operationId);
    const spec = sent === undefined ? undefined : this.#policy.typeOf(sent.type)?.stateMerge?.spec;
    // Without a region the entity is another group's.
    if (sent === undefined || spec === undefined || stamp === undefined || region === undefined || (outcome !== Outcome.ACCEPTED && outcome !== Outcome.MERGED)) return;
    const key = `${groupId} ${sent.type}/${sent.entityId}`;
    if (sent.state.length === 0) return this.#removed(key);
    let merged = this.#merged.get(key);
    if (merged === undefined) {
      const merge = mergeFunctionOf(spec);
      this.#merged.set(key, (merged = { merge, updates: [], isWritten: false, state: merge.empty, text: "" }));
    }
    const update: Update = { content: parseJson(sent.state), origin: { physicalMs: stamp.physicalMs, logical: stamp.logical, serverId, operationId } };
    merged.updates.push(update);
    merged.state = merged.merge.apply(merged.state, update.content, update.origin);
    merged.isWritten = false;
    for (const { effect } of effects) {
      if (effect?.$case !== "put" || effect.value.kind !== sent.type) continue;
      merged.isWritten = true;
      merged.text = new TextDecoder().decode(effect.value.state);
      const expected = canonicalText(merged.merge.write(merged.state));
      if (merged.text !== expected) this.#fail("merged states", `${key} stands at ${merged.text} after ${index}; its ${merged.updates.length} updates make ${expected}`);
    }
  }

  #removed(key: string): void {
    const merged = this.#merged.get(key);
    if (merged === undefined) return;
    this.#checkOrders(key, merged);
    this.#merged.delete(key);
  }

  /** Once all is quiet. */
  checkFinal(): void {
    for (const [key, merged] of this.#merged) this.#checkOrders(key, merged);
  }

  #checkOrders(key: string, { merge, updates, isWritten, text }: Merged): void {
    if (!isWritten) return this.#fail("merged states", `the last of ${updates.length} updates of ${key} was accepted, and its state was not written`);
    const stateOf = (some: readonly Update[]): unknown => some.reduce((state, { content, origin }) => merge.apply(state, content, origin), merge.empty);
    const servers = [...new Set(updates.map(({ origin }) => origin.serverId))];
    const orders: Readonly<Record<string, unknown>> = {
      "the last first": stateOf(updates.toReversed()),
      "by their ids": stateOf(updates.toSorted((a, b) => (a.origin.operationId < b.origin.operationId ? -1 : 1))),
      "joined by servers": servers.map((serverId) => stateOf(updates.filter(({ origin }) => origin.serverId === serverId))).reduce((a, b) => merge.join(a, b), merge.empty),
    };
    for (const [order, state] of Object.entries(orders)) {
      const other = canonicalText(merge.write(state));
      if (other !== text) this.#fail("merged states", `${key} stands at ${text}; its ${updates.length} updates, ${order}, make ${other}`);
    }
  }
}
