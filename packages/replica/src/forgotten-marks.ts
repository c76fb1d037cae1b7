// Up to when decisions were forgotten, a game server. An operation that was kept during a partition may be older than
// everything that the group remembers, and yet surely undecided: where its server had nothing forgotten that claimed a later time.
import type { ForgottenMark } from "@statemesh/contract/log";

/** Servers that are told apart. Beyond it those with the earliest marks share one. */
const SERVERS_MAX = 4_096;

export class ForgottenMarks {
  readonly #byServer = new Map<number, number>();
  #floorMs = 0;

  /** A decision was forgotten. `serverId` 0: it is not known whose. */
  note(serverId: number, atMs: number): void {
    if (serverId === 0) {
      this.#floorMs = Math.max(this.#floorMs, atMs);
      return;
    }
    this.#byServer.set(serverId, Math.max(this.#byServer.get(serverId) ?? 0, atMs));
    if (this.#byServer.size > SERVERS_MAX) this.#shrink();
  }

  /** An operation of the server with a claimed time at or below this one may have been decided and forgotten. */
  throughMs(serverId: number): number {
    return Math.max(this.#floorMs, this.#byServer.get(serverId) ?? 0);
  }

  #shrink(): void {
    const byTime = [...this.#byServer].sort(([a, aMs], [b, bMs]) => aMs - bMs || a - b);
    for (const [serverId, atMs] of byTime.slice(0, SERVERS_MAX / 2)) {
      this.#floorMs = Math.max(this.#floorMs, atMs);
      this.#byServer.delete(serverId);
    }
  }

  capture(): { forgotten: ForgottenMark[]; forgottenFloorMs: number } {
    return { forgotten: [...this.#byServer].map(([serverId, throughMs]) => ({ serverId, throughMs })), forgottenFloorMs: this.#floorMs };
  }

  /** @param throughMs What was forgotten of all servers: an earlier version says no more. */
  restore({ forgotten, forgottenFloorMs }: { forgotten: readonly ForgottenMark[]; forgottenFloorMs: number }, throughMs: number): void {
    for (const { serverId, throughMs: atMs } of forgotten) this.#byServer.set(serverId, atMs);
    this.#floorMs = forgotten.length === 0 && forgottenFloorMs === 0 ? throughMs : forgottenFloorMs;
  }
}
