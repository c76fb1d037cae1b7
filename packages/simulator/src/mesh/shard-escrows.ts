// What a game shard does with escrows: sets items of its players apart, spends them through the node that keeps them, asks again where it
// heard nothing, and ends some. The players are its own: what comes and goes here is no write that others see themselves make.
import { type CloseEscrowResponse, type Decision, type Operation, Outcome, PlayerInventory_Action, type Region, type SpendEscrowRequest, type SpendEscrowResponse } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { START_WALL_MS } from "../sim-clock.ts";
import type { SimRandom } from "../sim-random.ts";
import { reasonOf } from "./call-book.ts";
import type { EscrowBook } from "./escrow-book.ts";
import { ITEM_KIND } from "./mesh-requests.ts";
import type { ShardParts } from "./shard-parts.ts";
import type { ShardWay } from "./shard-way.ts";

/** Escrows that a shard uses at a time. */
const USED_MAX = 4;
const TRIES_MAX = 6;
const RETRY_MS = 150;

interface Used {
  readonly region: Region;
  readonly escrowId: string;
  readonly nodeId: number;
  readonly openedIndex: number;
}

interface Asked {
  readonly type: string;
  readonly body: NonNullable<Operation["body"]>;
}

export class ShardEscrows {
  readonly #serverId: number;
  readonly #parts: ShardParts;
  readonly #book: EscrowBook;
  readonly #way: ShardWay;
  readonly #random: SimRandom;
  readonly #used: Used[] = [];
  #serial = 0;
  /** Calls that are not answered. */
  underWay = 0;

  constructor(serverId: number, parts: ShardParts, way: ShardWay, random: SimRandom) {
    this.#serverId = serverId;
    this.#parts = parts;
    this.#book = parts.escrowBook;
    this.#way = way;
    this.#random = random;
  }

  /** An operation through the log: items for its players, or an escrow of what they have. */
  operation(): Asked {
    const playerId = `z${this.#random.between(1, 3)}`;
    if (this.#random.chance(0.4)) {
      const none = { counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" };
      return { type: "player_inventory", body: { $case: "playerInventory", value: { ...none, action: PlayerInventory_Action.MINT, playerId, itemKind: ITEM_KIND, quantity: this.#random.between(100, 300) } } };
    }
    const lastsMs = this.#random.pick([4_000, 60_000, 60_000]);
    const value = {
      escrowId: `w${this.#serverId}-${this.#random.between(1, 12)}`, playerId, itemKind: ITEM_KIND, quantity: this.#random.pick([6, 60, 200]), spenderServerId: this.#serverId,
      nodeId: this.#random.pick(this.#parts.nodes), expiresMs: START_WALL_MS + Math.floor(this.#parts.simulation.nowMs) + lastsMs,
    };
    return { type: "escrow_opening", body: { $case: "escrowOpening", value } };
  }

  /** What became of an operation. */
  decided({ body, homeRegion: region }: Operation, { outcome, position }: Decision): void {
    if (body?.$case !== "escrowOpening" || outcome !== Outcome.ACCEPTED || region === undefined || position === undefined) return;
    const { escrowId, nodeId } = body.value;
    if (this.#used.some((used) => used.escrowId === escrowId && used.openedIndex === position.index)) return;
    this.#used.push({ region, escrowId, nodeId, openedIndex: position.index });
    if (this.#used.length > USED_MAX) this.#used.shift();
  }

  /** One call to the node of an escrow, where there is one. */
  act(): void {
    if (this.#used.length === 0) return;
    const used = this.#random.pick(this.#used);
    if (this.#random.chance(0.03)) return this.#close(used);
    const request: SpendEscrowRequest = {
      operationId: `z${this.#serverId}-${++this.#serial}`, serverId: this.#serverId, region: used.region, escrowId: used.escrowId, quantity: this.#random.between(1, 3),
      toPlayerId: this.#random.chance(0.2) ? "" : `z${this.#random.between(1, 3)}`, timestampMs: START_WALL_MS + Math.floor(this.#parts.simulation.nowMs),
    };
    this.#spend(used, request, 1);
    // Again, and long after: it is the same spending, whatever became of the node meanwhile.
    if (this.#random.chance(0.15)) this.#way.after(this.#random.between(1, 3_000), () => this.#spend(used, request, TRIES_MAX));
  }

  #spend(used: Used, request: SpendEscrowRequest, tries: number): void {
    this.underWay++;
    const { region, escrowId } = used;
    let askedNode = 0;
    let openedIndex = 0;
    this.#way.ask<SpendEscrowResponse>(
      (node, deadlineMs, done, fail) => {
        askedNode = node.mesh.nodeId;
        node.mesh.escrows.spend(request, deadlineMs, (response, error) => {
          if (response === undefined) return fail(reasonOf(error));
          // An id may have been opened anew meanwhile: which one it was spent from is what stands at the node now.
          if (!response.repeated) node.mesh.escrows.list({ region, escrowId, serverId: 0, playerId: "", includeClosed: false, stale: true, pageSize: 0, pageToken: "" }, deadlineMs, (listed) => (openedIndex = listed?.escrows[0]?.openedIndex ?? 0));
          done(response);
        });
        node.mesh.dirty();
      },
      (response, reason) => {
        this.underWay--;
        if (response?.repeated === true) this.#parts.recorder.sometimes("spending repeated");
        if (response !== undefined) return this.#book.promised(groupOf(region, this.#parts.groups), escrowId, openedIndex, request.operationId, request.quantity, askedNode);
        this.#parts.recorder.sometimes(`spending ${reason}`);
        if (reason === "ESCROW_CLOSED" || reason === "ESCROW_EXPIRED" || reason === "ESCROW_EXHAUSTED" || reason === "NOT_FOUND") this.#leave(used, reason);
        if (tries < TRIES_MAX && (reason === "OUTCOME_UNKNOWN" || reason === "UNREACHABLE" || reason === "ESCROW_NOT_READY")) this.#way.after(RETRY_MS, () => this.#spend(used, request, tries + 1));
      },
      used.nodeId,
    );
  }

  /** There is nothing more to be had of it; what is left of an exhausted one comes back when it ends. */
  #leave(used: Used, reason: string): void {
    const at = this.#used.indexOf(used);
    if (at < 0 || (reason === "ESCROW_EXHAUSTED" && this.#random.chance(0.7))) return;
    this.#used.splice(at, 1);
    if (reason === "ESCROW_EXHAUSTED") this.#close(used);
  }

  #close({ region, escrowId, nodeId }: Used): void {
    this.underWay++;
    this.#way.ask<CloseEscrowResponse>(
      (node, deadlineMs, done, fail) => {
        node.mesh.escrows.close({ serverId: this.#serverId, region, escrowId }, deadlineMs, (response, error) => (response === undefined ? fail(reasonOf(error)) : done(response)));
        node.mesh.dirty();
      },
      (response, reason) => {
        this.underWay--;
        this.#parts.recorder.sometimes(response === undefined ? `closing ${reason}` : "closing answered");
      },
      nodeId,
    );
  }
}
