import { Counter, Gauge, type Registry } from "@statemesh/service";
import type { RegionStore } from "./region-store.ts";
import { WORK_KINDS } from "./sql/database.ts";

/** The store's own metrics; the numbers are read when they are asked for. */
export function registerStoreMetrics(registry: Registry, store: RegionStore): void {
  const registers = [registry];
  new Gauge({ name: "statemesh_region_store_ready", help: "1 while SQL answers and the schema is up to date.", registers, collect() {
    this.set(store.notReady().length === 0 ? 1 : 0);
  } });
  new Gauge({ name: "statemesh_region_store_sql_connections", help: "Connections to SQL, and calls that wait for one.", labelNames: ["state"], registers, collect() {
    const { busy, idle, waiting } = store.load();
    this.set({ state: "busy" }, busy);
    this.set({ state: "idle" }, idle);
    this.set({ state: "waiting" }, waiting);
  } });
  new Gauge({ name: "statemesh_region_store_work", help: "Work that has a connection to SQL or waits for one, by kind.", labelNames: ["kind", "state"], registers, collect() {
    for (const kind of WORK_KINDS) {
      const { busy, waiting } = store.loadOf(kind);
      this.set({ kind, state: "busy" }, busy);
      this.set({ kind, state: "waiting" }, waiting);
    }
  } });
  const counts = { refused: "Work that was answered OVERLOADED: too much waited, or it waited too long.", expired: "Work that nobody waited for any more before it had a connection." } as const;
  for (const count of ["refused", "expired"] as const) {
    const seen = new Map<string, number>();
    new Counter({ name: `statemesh_region_store_work_${count}_total`, help: counts[count], labelNames: ["kind"], registers, collect() {
      for (const kind of WORK_KINDS) {
        const now = store.loadOf(kind)[count];
        this.inc({ kind }, now - (seen.get(kind) ?? 0));
        seen.set(kind, now);
      }
    } });
  }
  new Gauge({ name: "statemesh_region_store_pending_invalidations", help: "Invalidations that Redis has not heard yet.", registers, collect() {
    this.set(store.load().pendingInvalidations);
  } });
  new Gauge({ name: "statemesh_region_store_cache_events", help: "Cache hits, misses, evictions and errors by tier since the start.", labelNames: ["tier", "event"], registers, collect() {
    for (const [tier, counts] of store.getCacheStatistics().tiers) {
      for (const event of ["hits", "misses", "evictions", "errors"] as const) this.set({ tier, event }, counts[event]);
    }
  } });
  new Gauge({ name: "statemesh_region_store_cache_bytes", help: "Bytes of regions in this process's memory, about.", registers, collect() {
    this.set(store.getCacheStatistics().tiers.get("memory")?.bytes ?? 0);
  } });
}
