import type { Region } from "@statemesh/contract";
import type { Host } from "../host.ts";
import type { EventualStore } from "./eventual-store.ts";
import { Restore } from "./restore.ts";
import { WriteBehind } from "./write-behind.ts";

/** A node's eventual values in the region store: what it begins with, and what it writes there. */
export class EventualStorage {
  readonly restore: Restore;
  readonly behind: WriteBehind;
  readonly #host: Host;

  constructor(host: Host, store: EventualStore, groupOf: (region: Region) => number, leads: (groupId: number) => boolean) {
    this.#host = host;
    this.restore = new Restore(
      (pageToken, done) => host.loadEventual(pageToken, done),
      (values) => store.restore(values, host.clock.wallMs()),
    );
    this.behind = new WriteBehind({
      leads: (region) => leads(groupOf(region)),
      valuesOfGroup: (groupId) => store.valuesWhere((region) => groupOf(region) === groupId),
      store: (values, forgetBeforeMs, done) => host.storeEventual(values, forgetBeforeMs, done),
      horizonMs: store.limits.tombstoneHorizonMs,
    });
    store.compareOnce(() => !this.restore.isFilling);
    store.listenBehind((value, register) => this.behind.changed(value, register));
  }

  tick(): void {
    const nowMs = this.#host.clock.wallMs();
    this.restore.tick(nowMs);
    this.behind.tick(nowMs);
  }
}
