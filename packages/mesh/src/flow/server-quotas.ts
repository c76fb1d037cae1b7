// What one game server may have and do on a node, so that no bug of one takes the node from the others. A server is known by the
// id that it registered with.
import { MeshError } from "@statemesh/contract";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./standing-delay.ts";
import { TokenBucket } from "./token-bucket.ts";

export interface ServerQuotas {
  /** Strong operations that are not answered. */
  readonly inFlight: number;
  /** Strong operations a second; 0: as many as there is room for. */
  readonly operationsPerSecond: number;
  /** Eventual updates and causal events a second; 0: as many as there is room for. */
  readonly updatesPerSecond: number;
}

export const SERVER_QUOTAS: ServerQuotas = { inFlight: 16_384, operationsPerSecond: 0, updatesPerSecond: 0 };

/** Servers whose buckets are kept, about: those that are full are forgotten then. */
const BUCKETS = 4_096;

export class QuotaKeeper {
  readonly quotas: ServerQuotas;
  readonly #inFlight = new Map<number, number>();
  readonly #operations: Buckets;
  readonly #updates: Buckets;
  /** Operations and updates that were refused. */
  refused = 0;

  constructor(quotas: Partial<ServerQuotas> | undefined) {
    this.quotas = { ...SERVER_QUOTAS, ...quotas };
    this.#operations = new Buckets(this.quotas.operationsPerSecond);
    this.#updates = new Buckets(this.quotas.updatesPerSecond);
  }

  /** Takes strong operations of a server in, all or none; throws QUOTA_EXCEEDED. What is taken is given back with `answered`. */
  take(serverId: number, count: number, nowMs: number): void {
    const held = this.#inFlight.get(serverId) ?? 0;
    if (held + count > this.quotas.inFlight) throw this.#refusal(serverId, count, "operations of a server not answered on this node", this.quotas.inFlight, RETRY_MIN_MS);
    const waitMs = this.#operations.take(serverId, count, nowMs);
    if (waitMs > 0) throw this.#refusal(serverId, count, "operations of a server a second on this node", this.quotas.operationsPerSecond, waitMs);
    this.#inFlight.set(serverId, held + count);
  }

  answered(serverId: number, count: number): void {
    const held = (this.#inFlight.get(serverId) ?? 0) - count;
    if (held > 0) this.#inFlight.set(serverId, held);
    else this.#inFlight.delete(serverId);
  }

  /** Takes updates and events of a server, all or none; throws QUOTA_EXCEEDED. */
  takeUpdates(serverId: number, count: number, nowMs: number): void {
    const waitMs = this.#updates.take(serverId, count, nowMs);
    if (waitMs > 0) throw this.#refusal(serverId, count, "updates and events of a server a second on this node", this.quotas.updatesPerSecond, waitMs);
  }

  #refusal(serverId: number, count: number, what: string, limit: number, waitMs: number): MeshError {
    this.refused += count;
    return new MeshError("QUOTA_EXCEEDED", `server ${serverId}: ${what}: the quota of ${limit} is reached`, {
      metadata: { server_id: String(serverId), quota: String(limit) }, retryDelayMs: Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, waitMs)),
    });
  }
}

class Buckets {
  readonly #perSecond: number;
  readonly #byServer = new Map<number, TokenBucket>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  take(serverId: number, count: number, nowMs: number): number {
    if (this.#perSecond === 0) return 0;
    let bucket = this.#byServer.get(serverId);
    if (bucket === undefined) {
      if (this.#byServer.size >= BUCKETS) for (const [id, each] of this.#byServer) if (each.isFull(nowMs)) this.#byServer.delete(id);
      this.#byServer.set(serverId, (bucket = new TokenBucket(this.#perSecond, nowMs)));
    }
    return bucket.take(count, nowMs);
  }
}
