// A game shard: registers, holds leases, writes, reads, publishes and subscribes, through any node, with retries. It also does
// what shards should not: doubles, stale epochs, forged priorities, wrong times, oversized payloads.
import {
  type AcquireResponse, type Decision, type EntityKey, Operation, type OperationError, PlayerInventory_Action, type PublishResponse, ReadLevel, type ReadResponse, type Region, type RenewResponse,
  TerrainModification_Mode, type VectorClock,
} from "@statemesh/contract";
import { acquire, publish, readFrom, register, release, renew } from "@statemesh/node";
import { formatRegion, groupOf } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import { START_WALL_MS } from "../sim-clock.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { CallBook, OpenOperation } from "./call-book.ts";
import { reasonOf } from "./call-book.ts";
import type { LeaseBook } from "./lease-book.ts";
import { ITEM_KIND } from "./mesh-requests.ts";
import type { ShardNetwork } from "./shard-network.ts";

type Body = NonNullable<Operation["body"]>;

/** Operations that one shard has under way; it waits beyond. */
const UNDER_WAY_MAX = 64;
/** Tries of one operation, and milliseconds between them. */
const TRIES_MAX = 8;
const RETRY_MS = 200;
const CALL_TIMEOUT_MS = 3_000;
const RENEW_MS = 700;
/** A shard trusts its lease a little less long than it was given. */
const LEASE_TRUST = 0.9;
/** Bytes of a key that no rule lets pass. Megabytes would be refused for the same reason, and cost half of a run. */
const KEY_TOO_LONG = 10_000;

export interface ShardParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly network: ShardNetwork;
  readonly book: CallBook;
  readonly leases: LeaseBook;
  readonly nodes: readonly number[];
  readonly groups: number;
  readonly leaseMs: number;
  readonly regions: readonly Region[];
  /** Mean milliseconds between two actions. */
  readonly paceMs: number;
  /** Of all actions, how many do what they should not. */
  readonly mischief: number;
  /** Shards take regions over; else nobody owns any. */
  readonly leasing: boolean;
  /** Names that are fought for: structures' places, resources, players. */
  readonly names: number;
  /** Share of the boxes that lie across a border, where somebody else may build. */
  readonly borders: number;
}

interface HeldLease {
  readonly region: Region;
  readonly epoch: number;
  untilMs: number;
}

export class SimShard {
  readonly serverId: number;
  readonly #parts: ShardParts;
  readonly #random: SimRandom;
  readonly #leases = new Map<string, HeldLease>();
  readonly #sessions = new Map<number, number>();
  /** By region: the last epoch that was given up. An answer that was on its way then grants nothing any more. */
  readonly #givenUp = new Map<string, number>();
  #token: VectorClock | undefined;
  #serial = 0;
  #underWay = 0;
  #stopped = false;
  #registered = false;

  constructor(serverId: number, parts: ShardParts) {
    this.serverId = serverId;
    this.#parts = parts;
    this.#random = parts.simulation.random.fork();
  }

  get #name(): string {
    return `shard ${this.serverId}`;
  }

  start(): void {
    this.#register();
    this.#every(RENEW_MS, () => this.#renew());
    this.#next();
  }

  /** Takes up nothing new; what is under way goes on. */
  stop(): void {
    this.#stopped = true;
  }

  get isQuiet(): boolean {
    return this.#underWay === 0;
  }

  #every(periodMs: number, run: () => void): void {
    this.#parts.simulation.after(periodMs, () => {
      run();
      this.#every(periodMs, run);
    });
  }

  #next(): void {
    const { simulation, paceMs } = this.#parts;
    simulation.after(-Math.log(1 - this.#random.next()) * paceMs, () => {
      if (!this.#stopped && this.#registered && this.#underWay < UNDER_WAY_MAX) this.#act();
      this.#next();
    });
  }

  #anyNode(): number {
    return this.#random.pick(this.#parts.nodes);
  }

  #act(): void {
    const dice = this.#random.next();
    const own = [...this.#leases.values()].filter(({ untilMs }) => untilMs > this.#parts.simulation.nowMs).map(({ region }) => region);
    const region = this.#random.pick(own.length > 0 && this.#random.chance(0.8) ? own : this.#parts.regions);
    if (dice < 0.62) this.#execute(this.#operation(region));
    else if (dice < 0.68) this.#transact(region);
    else if (dice < 0.8) this.#read(region);
    else if (dice < 0.93) this.#publish(region);
    else if (!this.#parts.leasing) this.#execute(this.#operation(region));
    else if (dice < 0.97) this.#acquire(this.#random.pick(this.#parts.regions));
    else this.#release();
  }

  // ---- authority ----

  #register(): void {
    const { network, simulation } = this.#parts;
    const request = { serverId: this.serverId, name: `shard-${this.serverId}`, address: "", incarnation: 1, maxRegions: 0 };
    network.ask(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, done, fail) => void register(node.authority, request, deadlineMs).then(done, fail),
      (response) => {
        if (response !== undefined) {
          this.#registered = true;
          return;
        }
        simulation.after(RETRY_MS, () => this.#register());
      },
    );
  }

  #renew(): void {
    const { network, simulation, leases, leaseMs } = this.#parts;
    if (!this.#registered || this.#stopped) return;
    const held = [...this.#leases.values()];
    const sentMs = simulation.nowMs;
    network.ask<RenewResponse>(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, done, fail) => void renew(node.authority, { serverId: this.serverId, leases: held.map(({ region, epoch }) => ({ region, epoch, players: 0 })), load: undefined }, deadlineMs).then(done, fail),
      (response, error) => {
        if (response === undefined) {
          if (error === "SERVER_NOT_REGISTERED") {
            this.#registered = false;
            this.#leases.clear();
            this.#register();
          }
          return;
        }
        for (const { region, epoch } of response.renewed) {
          const lease = region === undefined ? undefined : this.#leases.get(formatRegion(region));
          if (lease?.epoch !== epoch) continue;
          lease.untilMs = sentMs + leaseMs * LEASE_TRUST;
          leases.renewed(formatRegion(lease.region), epoch, lease.untilMs);
        }
        for (const { regionText } of response.lost) this.#leases.delete(regionText);
      },
    );
  }

  #acquire(region: Region): void {
    const { network, simulation, leases, leaseMs } = this.#parts;
    const text = formatRegion(region);
    const sentMs = simulation.nowMs;
    this.#underWay++;
    network.ask<AcquireResponse>(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, done, fail) => void acquire(node.authority, { serverId: this.serverId, region }, deadlineMs).then(done, fail),
      (response, error) => {
        this.#underWay--;
        if (response?.lease === undefined) {
          if (error === "SERVER_NOT_REGISTERED" && this.#registered) {
            this.#registered = false;
            this.#register();
          }
          return;
        }
        const { epoch } = response.lease;
        const untilMs = sentMs + leaseMs * LEASE_TRUST;
        // A late answer is checked before it is trusted: the lease may be over.
        if (simulation.nowMs >= untilMs) return this.#parts.recorder.sometimes("lease came too late");
        if ((this.#givenUp.get(text) ?? 0) >= epoch || (this.#leases.get(text)?.epoch ?? 0) > epoch) return;
        this.#leases.set(text, { region, epoch, untilMs });
        leases.granted(text, this.serverId, epoch, untilMs);
        this.#parts.recorder.sometimes("lease granted");
      },
    );
  }

  #release(): void {
    const { network, leases } = this.#parts;
    const held = [...this.#leases.values()];
    if (held.length === 0) return;
    const { region, epoch } = this.#random.pick(held);
    // It is given up before it is told.
    this.#leases.delete(formatRegion(region));
    this.#givenUp.set(formatRegion(region), epoch);
    leases.ended(formatRegion(region), epoch);
    network.ask(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, done, fail) => void release(node.authority, { serverId: this.serverId, region, epoch }, deadlineMs).then(done, fail),
      () => undefined,
    );
  }

  /** The epoch to write under, as far as this shard knows. */
  #epochOf(region: Region): number {
    const lease = this.#leases.get(formatRegion(region));
    return lease !== undefined && lease.untilMs > this.#parts.simulation.nowMs ? lease.epoch : 0;
  }

  // ---- strong ----

  #operation(region: Region): Operation {
    const names = this.#parts.names;
    const player = (): string => `p${this.#random.between(1, names)}`;
    const id = `${this.serverId}-${++this.#serial}`;
    const isAcross = this.#random.chance(this.#parts.borders);
    const at = isAcross ? this.#random.pick([-6, 1_996]) : this.#random.between(0, names) * 8;
    const row = isAcross ? this.#random.between(0, names) * 8 : 0;
    const corner = { minX: region.x * 2_000 + at, minY: region.y * 2_000 + 10 + row, minZ: region.z * 2_000 + 10 };
    const bounds = { ...corner, maxX: corner.minX + 10, maxY: corner.minY + 4, maxZ: corner.minZ + 4 };
    const position = { x: Math.max(corner.minX, region.x * 2_000), y: corner.minY, z: corner.minZ };
    const inventory = (action: number, fields: Partial<{ playerId: string; counterpartyId: string; itemId: string }>): Operation =>
      this.#make(id, region, "player_inventory", {
        $case: "playerInventory",
        value: { action: action as PlayerInventory_Action, playerId: "", itemKind: ITEM_KIND, quantity: this.#random.between(1, 5), counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined, ...fields, ...(fields.itemId === undefined ? {} : { position }) },
      });
    const place = `${region.x}.${region.y}.${region.z}.${at}${row === 0 ? "" : `.${row}`}`;
    switch (this.#random.between(0, 10)) {
      case 0:
      case 1:
        return this.#make(id, region, "structure_placement", { $case: "structurePlacement", value: { structureId: `s-${place}-${this.#random.between(0, 2)}`, kind: "wall", bounds, playerId: "", attributes: new Map() } });
      case 2:
        return this.#make(id, region, "structure_removal", { $case: "structureRemoval", value: { structureId: `s-${place}-${this.#random.between(0, 2)}`, playerId: "" } });
      case 3:
        return this.#make(id, region, "resource_claim", { $case: "resourceClaim", value: { resourceId: `r-${place}`, playerId: player(), release: this.#random.chance(0.4) } });
      case 4:
        return inventory(PlayerInventory_Action.MINT, { playerId: player() });
      case 5:
      case 6:
        return inventory(PlayerInventory_Action.TRANSFER, { playerId: player(), counterpartyId: `q${this.#random.between(1, names)}` });
      case 7:
        return inventory(PlayerInventory_Action.SPAWN, { itemId: `i-${id}` });
      case 8:
        return this.#make(id, region, "item_pickup", { $case: "itemPickup", value: { itemId: `i-${this.#random.between(1, 4)}-${this.#random.between(1, this.#serial)}`, playerId: player() } });
      case 9: {
        const mode = this.#random.chance(0.5) ? TerrainModification_Mode.DIG : TerrainModification_Mode.FILL;
        const material = mode === TerrainModification_Mode.DIG ? "" : "stone";
        return this.#make(id, region, "terrain_modification", { $case: "terrainModification", value: { mode, bounds, material, playerId: "", observedVersion: 0, brush: new Uint8Array(0) } });
      }
      default:
        return this.#make(id, region, "creature_ownership", { $case: "creatureOwnership", value: { creatureId: `c-${place}`, ownerServerId: this.#random.chance(0.3) ? 0 : this.serverId } });
    }
  }

  #make(operationId: string, homeRegion: Region, type: string, body: Body): Operation {
    // As the SDK does: the time tells a retry of long ago from a new operation, once its decision is forgotten.
    const timestampMs = START_WALL_MS + Math.floor(this.#parts.simulation.nowMs);
    const operation: Operation = { ...Operation.fromPartial({ operationId, serverId: this.serverId, homeRegion, type, timestampMs, authorityEpoch: this.#epochOf(homeRegion) }), body };
    if (!this.#random.chance(this.#parts.mischief)) return operation;
    switch (this.#random.between(0, 4)) {
      case 0:
        return { ...operation, authorityEpoch: Math.max(0, operation.authorityEpoch + this.#random.between(-2, 1)) };
      case 1:
        return { ...operation, priority: 99 };
      case 2:
        return { ...operation, timestampMs: timestampMs + this.#random.between(-60_000, 400) };
      case 3:
        return { ...operation, timestampMs: timestampMs + 60_000 };
      default:
        return { ...operation, footprint: { keys: ["k".repeat(KEY_TOO_LONG)], regions: [], bounds: undefined } };
    }
  }

  #execute(operation: Operation): void {
    const region = operation.homeRegion;
    if (region === undefined) return;
    const { book, groups } = this.#parts;
    const groupId = groupOf(region, groups);
    const open = book.begin(operation.operationId, groupId, book.requests.write(this.#name, groupId, [operation], ""));
    this.#underWay++;
    // The same request twice, through two nodes: a refusal of one says nothing about the other.
    if (this.#random.chance(0.05)) {
      open.tries++;
      this.#send(operation, open, () => undefined);
    }
    // And long after it was decided: by then another may lead, from a snapshot.
    if (this.#random.chance(0.04)) {
      open.tries++;
      this.#parts.simulation.after(this.#random.between(500, 5_000), () => {
        if (!this.#stopped) this.#send(operation, open, () => undefined);
      });
    }
    this.#try(operation, open);
  }

  #try(operation: Operation, open: OpenOperation): void {
    open.tries++;
    this.#send(operation, open, (reason) => {
      const isOpen = reason !== undefined && this.#parts.book.failed(open, reason);
      if (!isOpen || open.tries >= TRIES_MAX) {
        this.#underWay--;
        if (isOpen) this.#parts.recorder.sometimes("outcome never heard");
        return;
      }
      this.#parts.recorder.sometimes("operation tried again");
      this.#parts.simulation.after(RETRY_MS, () => this.#try(operation, open));
    });
  }

  /** `done` gets the reason of a failure; undefined where it was decided. */
  #send(operation: Operation, open: OpenOperation, done: (reason: string | undefined) => void): void {
    const bytes = Operation.encode(operation).finish();
    this.#parts.network.ask<Decision>(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, decided, fail) => {
        node.mesh.edge.execute([Operation.decode(bytes)], deadlineMs, { decided, failed: (_, error) => fail(reasonOfOperation(error)) });
        node.mesh.dirty();
      },
      (decision, reason) => {
        if (decision === undefined) return done(reason ?? "UNREACHABLE");
        this.#parts.book.decided(open, decision);
        this.#sessions.set(open.groupId, Math.max(this.#sessions.get(open.groupId) ?? 0, decision.position?.index ?? 0));
        done(undefined);
      },
    );
  }

  #transact(region: Region): void {
    const { book, recorder, groups, simulation, network } = this.#parts;
    const operations = Array.from({ length: this.#random.between(2, 4) }, () => this.#operation(region));
    const transactionId = `t-${this.serverId}-${++this.#serial}`;
    const groupId = groupOf(region, groups);
    const asked = book.requests.write(this.#name, groupId, operations, transactionId);
    const opens = operations.map(({ operationId }) => book.begin(operationId, groupId, asked));
    const encoded = operations.map((operation) => Operation.encode(operation).finish());
    this.#underWay++;
    const attempt = (tries: number): void => {
      for (const open of opens) open.tries = tries;
      network.ask<Decision[]>(
        this.#anyNode(),
        CALL_TIMEOUT_MS,
        (node, deadlineMs, done, fail) => {
          const begin = (): void => {
            const decisions: Decision[] = [];
            try {
              node.mesh.edge.transact(transactionId, encoded.map((bytes) => Operation.decode(bytes)), deadlineMs, {
                decided: (decision) => {
                  decisions.push(decision);
                  if (decisions.length === operations.length) done(decisions);
                },
                failed: (_, error) => fail(reasonOfOperation(error)),
              });
              node.mesh.dirty();
            } catch (error) {
              fail(reasonOf(error));
            }
          };
          if (node.mesh.directory.directory.server(this.serverId) !== undefined) return begin();
          node.mesh.barrier(0, deadlineMs, (error) => (error === undefined ? begin() : fail(error.reason)));
        },
        (decisions, reason) => {
          if (decisions === undefined) {
            const isOpen = opens.map((open) => book.failed(open, reason ?? "UNREACHABLE")).some(Boolean);
            if (isOpen && tries < TRIES_MAX) simulation.after(RETRY_MS, () => attempt(tries + 1));
            else this.#underWay--;
            return;
          }
          this.#underWay--;
          this.#transacted(transactionId, opens, decisions);
          recorder.sometimes("transaction answered");
        },
      );
    };
    attempt(1);
  }

  /** All or none, in one place of the log. */
  #transacted(transactionId: string, opens: readonly OpenOperation[], decisions: readonly Decision[]): void {
    const { book, recorder } = this.#parts;
    for (const decision of decisions) {
      const open = opens.find(({ operationId }) => operationId === decision.operationId);
      if (open === undefined) recorder.violation("one decision for ever", `transaction ${transactionId} was answered about ${decision.operationId}`);
      else book.decided(open, decision);
    }
    const places = new Set(decisions.map(({ position }) => position?.index ?? 0));
    if (places.size > 1) recorder.violation("strictly serializable", `transaction ${transactionId} was decided at ${[...places].join(", ")}`);
    const rejected = decisions.filter(({ outcome }) => outcome === 3).length;
    if (rejected > 0 && rejected < decisions.length) recorder.violation("strictly serializable", `of transaction ${transactionId} ${rejected} of ${decisions.length} operations were rejected`);
  }

  // ---- reads and publications ----

  #read(region: Region): void {
    const { book, groups, network } = this.#parts;
    const groupId = groupOf(region, groups);
    const level = this.#random.pick([ReadLevel.LINEARIZABLE, ReadLevel.LINEARIZABLE, ReadLevel.SESSION, ReadLevel.BOUNDED_STALENESS, ReadLevel.EVENTUAL]);
    const floor = book.floorOf(groupId);
    const isFresh = level === ReadLevel.LINEARIZABLE;
    // Names for the checkers of histories; else the region as it is.
    const isNamed = isFresh && this.#random.chance(0.6);
    const entities = isNamed ? this.#entities(region) : [];
    const accounts = isNamed ? this.#accounts() : [];
    const asked = isNamed ? book.requests.read(this.#name, groupId, entities, accounts) : undefined;
    const sessionIndex = level === ReadLevel.SESSION ? (this.#sessions.get(groupId) ?? 0) : 0;
    this.#underWay++;
    network.ask<ReadResponse>(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, done, fail) => {
        const request = {
          region, level, entities, accounts, sessionPositions: sessionIndex === 0 ? [] : [{ groupId, term: 0, index: sessionIndex }],
          maxStalenessMs: level === ReadLevel.BOUNDED_STALENESS ? 2_000 : 0, pageSize: 64, pageToken: "", includeEventual: true,
        };
        readFrom(node.mesh, request, deadlineMs, { done, fail: (error) => fail(reasonOf(error)), isGone: () => false });
      },
      (response) => {
        this.#underWay--;
        if (response === undefined) return;
        book.read(groupId, floor, isFresh, sessionIndex, response, asked);
        if (level === ReadLevel.SESSION) this.#sessions.set(groupId, Math.max(this.#sessions.get(groupId) ?? 0, response.position?.index ?? 0));
        this.#parts.recorder.sometimes(`read at level ${level}`);
      },
    );
  }

  #entities(region: Region): EntityKey[] {
    return Array.from({ length: 4 }, () => {
      const place = `${region.x}.${region.y}.${region.z}.${this.#random.between(0, this.#parts.names) * 8}`;
      const dice = this.#random.between(0, 4);
      if (dice === 0) return { kind: "claim", entityId: `r-${place}` };
      if (dice === 1) return { kind: "creature", entityId: `c-${place}` };
      return { kind: "structure", entityId: `s-${place}-${this.#random.between(0, 2)}` };
    });
  }

  /** Both sides of transfers. */
  #accounts(): string[] {
    return ["p", "q"].map((side) => `${side}${this.#random.between(1, this.#parts.names)}`);
  }

  #publish(region: Region): void {
    const { network } = this.#parts;
    const key = `e${this.#random.between(1, this.#parts.names)}`;
    const value = new TextEncoder().encode(`${this.serverId}-${++this.#serial}`);
    const updates = this.#random.chance(0.7) ? [{ type: "creature_position", region, key, value, deleted: this.#random.chance(0.1), timestampMs: 0 }] : [];
    const events = updates.length === 0 || this.#random.chance(0.3) ? [{ type: "event_sequence", region, key, payload: value }] : [];
    const request = { serverId: this.serverId, updates, events, causalToken: this.#token };
    this.#underWay++;
    network.ask<PublishResponse>(
      this.#anyNode(),
      CALL_TIMEOUT_MS,
      (node, deadlineMs, done, fail) => {
        try {
          publish(node.mesh, node.timers, request, deadlineMs, { done, fail: (error) => fail(reasonOf(error)), isGone: () => false });
          node.mesh.dirty();
        } catch (error) {
          fail(reasonOf(error));
        }
      },
      (response, reason) => {
        this.#underWay--;
        this.#parts.recorder.sometimes(response === undefined ? `publish ${reason}` : "published");
        // The node stamps it, behind all that it holds.
        if (response !== undefined && response.staleUpdates > 0) this.#parts.recorder.violation("a write follows what its node holds", `${key} was published by server ${this.serverId} without a time of its own, and was older than what the node held`);
        if (response !== undefined) this.#token = response.causalToken;
        // The node that gave the token is gone with what it had not spread: a game starts anew from there.
        else if (reason === "TOKEN_AHEAD") this.#token = undefined;
      },
    );
  }
}

function reasonOfOperation(error: OperationError): string {
  return error.reason;
}
