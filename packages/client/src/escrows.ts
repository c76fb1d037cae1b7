/** Items set apart for this server, to be spent through one node also while that node is cut off from the others. */
import type { CloseEscrowResponse, Decision, Escrow, GetStatusResponse, ListEscrowsResponse, Region, SpendEscrowResponse } from "@statemesh/contract";
import { MeshError, Outcome } from "@statemesh/contract";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import type { OperationBuilder, OperationOverrides, Place } from "./operation-builder.ts";
import type { OperationIds } from "./operation-id.ts";
import { unknownAfter } from "./retry.ts";
import { type CallKind, type CallLimits, OPERATION, READ_CALL, REPEATABLE_WRITE, type StartCall, type UnaryCaller } from "./unary-caller.ts";

/** What is set apart. */
export interface EscrowSpec {
  /** 1..64 bytes; made by the client where it is left out. */
  readonly escrowId?: string;
  /** Whose items, and who gets back what is left. */
  readonly playerId: string;
  /** The kind of item. */
  readonly itemKind: string;
  /** How many, 1 or more. */
  readonly quantity: number;
  /** How long it may be spent from, ms; at most 31 days. Default: an hour. */
  readonly lastsMs?: number;
  /** The node that keeps the spendings. Default: that which the client talks to now. */
  readonly nodeId?: number;
}

/** What is spent. */
export interface SpendSpec {
  /** How many, 1 or more. */
  readonly quantity: number;
  /** Who gets it; left out: it is burned. */
  readonly toPlayerId?: string;
  /** Say it again, with the time, to ask about a spending whose answer never came. Default: a new id. */
  readonly operationId?: string;
  /** When it was asked for the first time, milliseconds since the Unix epoch. Default: now. */
  readonly timestampMs?: number;
}

/** An escrow as it was decided. */
export interface OpenedEscrow {
  /** What the mesh decided. */
  readonly decision: Decision;
  /** Undefined where it was rejected. */
  readonly escrow: HeldEscrow | undefined;
}

/** What escrows need of their client. */
export interface EscrowParts {
  readonly caller: UnaryCaller;
  readonly pool: NodePool;
  readonly operations: OperationBuilder;
  readonly ids: OperationIds;
  execute(operation: ReturnType<OperationBuilder["escrowOpening"]>, limits?: CallLimits): Promise<Decision>;
}

const HOUR_MS = 3_600_000;

/** One escrow of this server. */
export class HeldEscrow {
  /** The home region of its opening. */
  readonly region: Region;
  /** Its id in the group of the region. */
  readonly escrowId: string;
  readonly #parts: EscrowParts;
  /** Where its node is, as far as that is known. */
  #address: string | undefined;

  /** @param address of the node that keeps its spendings; undefined: found out at the first call */
  constructor(parts: EscrowParts, region: Region, escrowId: string, address?: string) {
    this.#parts = parts;
    this.region = region;
    this.escrowId = escrowId;
    this.#address = address;
  }

  /**
   * Spends. The answer counts for ever, also where the node is cut off and `position` is unset: the accounts then show it later.
   *
   * @throws MeshError ESCROW_EXHAUSTED, ESCROW_CLOSED, ESCROW_EXPIRED and others by name, after which nothing was spent; OUTCOME_UNKNOWN where
   * it may have been: the same id and time ask again
   */
  async spend(spec: SpendSpec, limits?: CallLimits): Promise<SpendEscrowResponse> {
    const { quantity, toPlayerId = "", operationId = this.#parts.ids.next(), timestampMs = Date.now() } = spec;
    const request = { operationId, serverId: this.#parts.operations.serverId, region: this.region, escrowId: this.escrowId, quantity, toPlayerId, timestampMs };
    return await this.#call<SpendEscrowResponse>((node, metadata, options, done) => node.escrow.spendEscrow(request, metadata, options, done), OPERATION, limits);
  }

  /** Ends it: what is left goes back to the player, at once or, where the node is cut off, later (state CLOSING). */
  async close(limits?: CallLimits): Promise<Escrow> {
    const request = { serverId: this.#parts.operations.serverId, region: this.region, escrowId: this.escrowId };
    const { escrow } = await this.#call<CloseEscrowResponse>((node, metadata, options, done) => node.escrow.closeEscrow(request, metadata, options, done), REPEATABLE_WRITE, limits);
    if (escrow === undefined) throw new MeshError("INTERNAL", "an answer without its escrow");
    return escrow;
  }

  /** How it stands, as its node knows it; while that is cut off too. Undefined: it is not there, or closed and forgotten. */
  async state(limits?: CallLimits): Promise<Escrow | undefined> {
    const request = { region: this.region, escrowId: this.escrowId, serverId: 0, playerId: "", includeClosed: true, stale: true, pageSize: 1, pageToken: "" };
    const { escrows } = await this.#parts.caller.call<ListEscrowsResponse>((node, metadata, options, done) => this.#keeper(node).escrow.listEscrows(request, metadata, options, done), READ_CALL, limits);
    return escrows[0];
  }

  #keeper(node: NodeConnection): NodeConnection {
    return (this.#address === undefined ? undefined : this.#parts.pool.at(this.#address)) ?? node;
  }

  /** Asks the node that keeps it, and looks for it among those that the client knows where it is another, all within the deadline of the call. */
  async #call<Response>(start: StartCall<Response>, kind: CallKind, limits: CallLimits = {}): Promise<Response> {
    const { caller, pool } = this.#parts;
    const endMs = limits.deadlineMs === undefined ? undefined : performance.now() + limits.deadlineMs;
    let isOpen = false;
    for (let looks = 0; ; looks++) {
      const left = endMs === undefined ? limits : { ...limits, deadlineMs: Math.max(1, endMs - performance.now()) };
      try {
        return await caller.call<Response>((node, metadata, options, done) => start(this.#keeper(node), metadata, options, done), kind, left);
      } catch (error) {
        if (!(error instanceof MeshError)) throw error;
        // The keeper did not answer the first attempt, and another node said after it where it is.
        const isElsewhere = error.reason === "OUTCOME_UNKNOWN" && error.cause instanceof MeshError && error.cause.reason === "ESCROW_ELSEWHERE";
        const told = isElsewhere ? (error.cause as MeshError) : error;
        isOpen ||= error.reason === "OUTCOME_UNKNOWN";
        if (told.reason !== "ESCROW_ELSEWHERE" || looks >= pool.size || (endMs !== undefined && performance.now() >= endMs)) {
          throw isOpen && kind.decidedOnce === true && error.reason !== "OUTCOME_UNKNOWN" ? unknownAfter(error) : error;
        }
        const address = told.metadata["node_address"];
        this.#address = looks === 0 && address !== undefined && pool.at(address) !== undefined ? address : pool.nth(looks).address;
      }
    }
  }
}

/** Escrows of this server. */
export class Escrows {
  readonly #parts: EscrowParts;

  constructor(parts: EscrowParts) {
    this.#parts = parts;
  }

  /** Sets items apart, through the log like every operation. */
  async open(place: Place, spec: EscrowSpec, overrides?: OperationOverrides, limits?: CallLimits): Promise<OpenedEscrow> {
    const { ids, operations, caller } = this.#parts;
    const { escrowId = ids.next(), lastsMs = HOUR_MS } = spec;
    let address: string | undefined;
    const nodeId = spec.nodeId ?? (await caller.call<GetStatusResponse>((node, metadata, options, done) => {
      ({ address } = node);
      return node.admin.getStatus({}, metadata, options, done);
    }, READ_CALL, limits)).nodeId;
    const { playerId, itemKind, quantity } = spec;
    const decision = await this.#parts.execute(operations.escrowOpening(place, { escrowId, playerId, itemKind, quantity, nodeId, expiresMs: Date.now() + lastsMs }, overrides), limits);
    return { decision, escrow: decision.outcome === Outcome.ACCEPTED ? new HeldEscrow(this.#parts, place.region, escrowId, address) : undefined };
  }

  /** One that was opened before, perhaps by an earlier process of this server. */
  at(region: Region, escrowId: string): HeldEscrow {
    return new HeldEscrow(this.#parts, region, escrowId);
  }

  /** All that this server may spend, of the group that keeps a region. */
  async list(region: Region, limits?: CallLimits): Promise<Escrow[]> {
    const escrows: Escrow[] = [];
    let pageToken = "";
    do {
      const request = { region, escrowId: "", serverId: this.#parts.operations.serverId, playerId: "", includeClosed: false, stale: false, pageSize: 0, pageToken };
      const page = await this.#parts.caller.call<ListEscrowsResponse>((node, metadata, options, done) => node.escrow.listEscrows(request, metadata, options, done), READ_CALL, limits);
      for (const escrow of page.escrows) escrows.push(escrow);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return escrows;
  }
}
