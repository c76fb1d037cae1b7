// Eventual values of one node, in one life of its process: a key never goes back behind a write that took effect there, a deletion included.
import type { EventualValue } from "@statemesh/contract";
import type { NodeRuntime } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";

/** Keys that are remembered of one node; further ones are not watched. */
const KEYS_MAX = 100_000;

export class EventualObserver {
  readonly #recorder: Recorder;
  /** Machines whose clock was set: how long they keep deletions is not known. */
  readonly #left = new Set<number>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** From the start of a node's process. */
  watch(machineId: number, { mesh }: NodeRuntime): void {
    const newest = new Map<string, EventualValue>();
    mesh.eventual.listen({
      changed: (value, register) => {
        const key = `${value.type} ${value.key} ${value.region?.x} ${value.region?.y} ${value.region?.z}`;
        const before = newest.get(key);
        if (before !== undefined && isEarlier(value, before) && !this.#left.has(machineId)) {
          this.#recorder.violation("eventual values never go back", `machine ${machineId} took ${textOf(value)} for ${key} after ${textOf(before)}`);
        }
        if (before !== undefined || newest.size < KEYS_MAX) newest.set(key, value);
        mesh.subscriptions.changed(value, register);
      },
      forgotten: (register, region) => mesh.subscriptions.forgotten(register, region),
    });
  }

  /** Says nothing of this machine any more. */
  leave(machineId: number): void {
    this.#left.add(machineId);
  }
}

/** By the stamps alone, as the contract tells them. */
export function isEarlier(value: EventualValue, than: EventualValue): boolean {
  const [a, b] = [value.stamp, than.stamp];
  if (a === undefined || b === undefined) return false;
  if (a.physicalMs !== b.physicalMs) return a.physicalMs < b.physicalMs;
  if (a.logical !== b.logical) return a.logical < b.logical;
  // Of equal stamps the lower server id wins.
  return value.serverId > than.serverId;
}

function textOf({ stamp, serverId, deleted }: EventualValue): string {
  return `${deleted ? "a deletion" : "a value"} of ${stamp?.physicalMs}.${stamp?.logical} by ${serverId}`;
}
