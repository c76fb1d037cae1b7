// A game shard: holds regions, writes, reads and publishes, through any node, with retries. It also does what shards
// should not: doubles, stale epochs, forged priorities, wrong times, oversized payloads.
import {
  type Decision, type EntityKey, type Footprint, Operation, type OperationError, Outcome, type PublishResponse, ReadLevel, type ReadResponse, type ReadSnapshotResponse, type Region, type VectorClock,
} from "@statemesh/contract";
import { publish, readFrom, readSnapshotFrom } from "@statemesh/node";
import { groupOf } from "@statemesh/world";
import { START_WALL_MS } from "../sim-clock.ts";
import type { SimRandom } from "../sim-random.ts";
import type { OpenOperation } from "./call-book.ts";
import { reasonOf } from "./call-book.ts";
import { asNobodyShould } from "./mischief.ts";
import { ShardBuiltIn } from "./shard-built-in.ts";
import { newsOfContainer, ShardContainers } from "./shard-containers.ts";
import { ShardEscrows } from "./shard-escrows.ts";
import { ShardLeases } from "./shard-leases.ts";
import { ShardOwnTypes } from "./shard-own-types.ts";
import type { ShardParts } from "./shard-parts.ts";
import { newsOfTraveller, ShardTravellers } from "./shard-travellers.ts";
import { ShardWay } from "./shard-way.ts";

type Body = NonNullable<Operation["body"]>;

/** Operations that one shard has under way; it waits beyond. */
const UNDER_WAY_MAX = 64;
/** Tries of one operation, and milliseconds between them. */
const TRIES_MAX = 8;
const RETRY_MS = 200;

/** When a transaction that goes far is looked at, at the latest, ms. */
const LOOK_MS = 120;

export class SimShard {
  readonly serverId: number;
  readonly #parts: ShardParts;
  readonly #random: SimRandom;
  readonly #way: ShardWay;
  readonly #leases: ShardLeases;
  readonly #containers: ShardContainers;
  readonly #escrows: ShardEscrows;
  readonly #own: ShardOwnTypes;
  readonly #builtIn: ShardBuiltIn;
  readonly #travellers: ShardTravellers;
  readonly #sessions = new Map<number, number>();
  #token: VectorClock | undefined;
  #serial = 0;
  #underWay = 0;
  #stopped = false;

  constructor(serverId: number, parts: ShardParts) {
    this.serverId = serverId;
    this.#parts = parts;
    this.#random = parts.simulation.random.fork();
    this.#way = new ShardWay(parts, this.#random);
    this.#containers = new ShardContainers(this.#random, parts.regions, parts.names);
    this.#escrows = new ShardEscrows(serverId, parts, this.#way, this.#random);
    this.#own = new ShardOwnTypes(this.#random, parts.policy, parts.ownTypes, parts);
    this.#builtIn = new ShardBuiltIn(serverId, this.#random, parts);
    this.#travellers = new ShardTravellers(serverId, this.#random, parts);
    this.#leases = new ShardLeases(serverId, parts, this.#way, this.#random);
  }

  get #name(): string {
    return `shard ${this.serverId}`;
  }

  start(): void {
    this.#leases.start();
    this.#next();
  }

  /** Takes up nothing new; what is under way goes on. */
  stop(): void {
    this.#stopped = true;
    this.#leases.stop();
  }

  get isQuiet(): boolean {
    return this.#underWay + this.#escrows.underWay === 0;
  }

  // ---- faults ----

  /** The process ends, and begins anew a while later. What it had asked for it never hears. */
  kill(downMs: number): boolean {
    if (!this.#way.runs) return false;
    this.#way.end();
    this.#leases.lost();
    this.#underWay = 0;
    this.#escrows.underWay = 0;
    this.#sessions.clear();
    this.#token = undefined;
    this.#parts.simulation.after(downMs, () => this.#begin());
    return true;
  }

  #begin(): void {
    if (this.#way.runs) return;
    this.#way.begin();
    this.start();
  }

  /** The process stands still for a while; then everything that waited comes late. */
  pause(durationMs: number): void {
    this.#way.pause(durationMs);
  }

  cutOff(isCut: boolean): void {
    this.#way.isCut = isCut;
  }

  heal(): void {
    this.#way.isCut = false;
    this.#way.resume();
    this.#begin();
  }

  #next(): void {
    this.#way.after(-Math.log(1 - this.#random.next()) * this.#parts.paceMs, () => {
      if (!this.#stopped && this.#leases.isRegistered && this.#underWay < UNDER_WAY_MAX) this.#act();
      this.#next();
    });
  }

  #act(): void {
    const { leasing, handoffs, regions, containers, escrows } = this.#parts;
    if (escrows > 0 && this.#random.chance(escrows / 3)) this.#escrows.act();
    const dice = this.#random.next();
    const { own } = this.#leases;
    const region = this.#random.pick(own.length > 0 && this.#random.chance(0.8) ? own : regions);
    const write = (): void => this.#leases.enter(region, () => this.#execute(this.#operation(region)));
    if (containers > 0 && this.#random.chance(containers / 3)) this.#look(region);
    if (dice < 0.62) write();
    else if (dice < 0.68) this.#leases.enter(region, () => this.#transact(region));
    else if (dice < 0.77) this.#read(region);
    else if (dice < 0.8) this.#readSnapshot([region, this.#random.pick(regions), this.#random.pick(regions)]);
    else if (dice < 0.93) this.#publish(region);
    else if (!leasing) write();
    else if (dice < 0.97) this.#acquire(this.#random.pick(regions));
    else if (handoffs && this.#random.chance(0.7)) this.#leases.transfer();
    else this.#leases.release();
  }

  #acquire(region: Region): void {
    this.#underWay++;
    this.#leases.acquire(region, () => this.#underWay--);
  }

  // ---- strong ----

  #operation(region: Region): Operation {
    const id = `${this.serverId}-${++this.#serial}`;
    const place = this.#builtIn.place(region);
    const { containers, travellers } = this.#parts;
    if (containers > 0 && this.#random.chance(containers)) {
      const asked = this.#containers.operation(region, place.position);
      return this.#make(id, region, asked.type, asked.body);
    }
    if (this.#parts.escrows > 0 && this.#random.chance(this.#parts.escrows / 2)) {
      const asked = this.#escrows.operation();
      return this.#make(id, region, asked.type, asked.body);
    }
    const asked = (travellers > 0 && this.#random.chance(travellers) ? this.#travellers.operation(region, id) : undefined) ?? this.#own.operation(region, id) ?? this.#builtIn.operation(region, id, this.#serial, place);
    return this.#make(id, region, asked.type, asked.body, asked.footprint);
  }

  #make(operationId: string, homeRegion: Region, type: string, body: Body, footprint?: Footprint): Operation {
    // As the SDK does: the time tells a retry of long ago from a new operation, once its decision is forgotten.
    const timestampMs = START_WALL_MS + Math.floor(this.#parts.simulation.nowMs);
    const allowTentative = this.#random.chance(this.#parts.tentative);
    const operation: Operation = { ...Operation.fromPartial({ operationId, serverId: this.serverId, homeRegion, type, timestampMs, allowTentative, authorityEpoch: this.#leases.epochOf(homeRegion), footprint }), body };
    return this.#random.chance(this.#parts.mischief) ? asNobodyShould(operation, this.#random) : operation;
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
      this.#way.after(this.#random.between(500, 5_000), () => {
        if (!this.#stopped) this.#send(operation, open, () => undefined);
      });
    }
    this.#try(operation, open, this.#leases.begin(region));
  }

  #try(operation: Operation, open: OpenOperation, ended: () => void): void {
    open.tries++;
    this.#send(operation, open, (reason) => {
      const isOpen = reason !== undefined && this.#parts.book.failed(open, reason);
      if (!isOpen || open.tries >= TRIES_MAX) {
        this.#underWay--;
        ended();
        if (isOpen) this.#parts.recorder.sometimes("outcome never heard");
        return;
      }
      this.#parts.recorder.sometimes("operation tried again");
      this.#way.after(RETRY_MS, () => this.#try(operation, open, ended));
    });
  }

  /** `done` gets the reason of a failure; undefined where it was decided. */
  #send(operation: Operation, open: OpenOperation, done: (reason: string | undefined) => void): void {
    const bytes = Operation.encode(operation).finish();
    let askedNode = 0;
    this.#way.ask<Decision>(
      (node, deadlineMs, decided, fail) => {
        askedNode = node.mesh.nodeId;
        node.mesh.edge.execute([Operation.decode(bytes)], deadlineMs, { decided, failed: (_, error) => fail(reasonOfOperation(error)) });
        node.mesh.dirty();
      },
      (decision, reason) => {
        if (decision === undefined) return done(reason ?? "UNREACHABLE");
        if (decision.outcome === Outcome.TENTATIVE) {
          this.#parts.book.kept(open, askedNode);
          return done("OUTCOME_UNKNOWN");
        }
        this.#parts.book.decided(open, decision);
        this.#escrows.decided(operation, decision);
        this.#heard(operation, decision);
        const { groupId, index } = decision.position ?? { groupId: open.groupId, index: 0 };
        this.#sessions.set(groupId, Math.max(this.#sessions.get(groupId) ?? 0, index));
        done(undefined);
      },
    );
  }

  #heard(operation: Operation, decision: Decision): void {
    const news = newsOfContainer(operation, decision, this.#parts.groups) ?? newsOfTraveller(operation, decision, this.#parts.groups);
    if (news !== undefined) this.#parts.recorder.sometimes(news);
    this.#travellers.decided(operation, decision);
  }

  #transact(region: Region): void {
    const { book, recorder, groups } = this.#parts;
    const goesFar = this.#random.chance(0.5);
    const operations = Array.from({ length: this.#random.between(2, 4) }, () => this.#operation(goesFar ? this.#random.pick(this.#parts.regions) : region));
    const transactionId = `t-${this.serverId}-${++this.#serial}`;
    const asked = book.requests.write(this.#name, groupOf(region, groups), operations, transactionId);
    const opens = operations.map(({ operationId, homeRegion }) => book.begin(operationId, groupOf(homeRegion ?? region, groups), asked));
    const encoded = operations.map((operation) => Operation.encode(operation).finish());
    // What it changes is looked at while it does.
    if (goesFar) this.#way.after(this.#random.next() * LOOK_MS, () => this.#readSnapshot(operations.map(({ homeRegion }) => homeRegion ?? region)));
    this.#underWay++;
    const ended = this.#leases.begin(region);
    const attempt = (tries: number): void => {
      for (const open of opens) open.tries = tries;
      this.#way.ask<Decision[]>(
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
            if (isOpen && tries < TRIES_MAX) return this.#way.after(RETRY_MS, () => attempt(tries + 1));
            ended();
            this.#underWay--;
            return;
          }
          ended();
          this.#underWay--;
          this.#transacted(transactionId, opens, decisions);
          for (const decision of decisions) {
            const operation = operations.find(({ operationId }) => operationId === decision.operationId);
            if (operation !== undefined) this.#heard(operation, decision);
          }
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
    const places = new Set(decisions.map(({ position }) => `${position?.index ?? 0} of group ${position?.groupId ?? 0}`));
    if (places.size > new Set(decisions.map(({ position }) => position?.groupId)).size) recorder.violation("strictly serializable", `transaction ${transactionId} was decided at ${[...places].join(", ")}`);
    const rejected = decisions.filter(({ outcome }) => outcome === 3).length;
    if (rejected > 0 && rejected < decisions.length) recorder.violation("strictly serializable", `of transaction ${transactionId} ${rejected} of ${decisions.length} operations were rejected`);
  }

  // ---- reads and publications ----

  #read(region: Region): void {
    const { book, groups } = this.#parts;
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
    this.#way.ask<ReadResponse>(
      (node, deadlineMs, done, fail) => {
        const request = {
          region, level, entities, accounts, containers: [], sessionPositions: sessionIndex === 0 ? [] : [{ groupId, term: 0, index: sessionIndex }],
          maxStalenessMs: level === ReadLevel.BOUNDED_STALENESS ? 2_000 : 0, pageSize: 64, pageToken: "", includeEventual: true, session: undefined,
        };
        readFrom(node.mesh, request, deadlineMs, { done, fail: (error) => fail(reasonOf(error)), isGone: () => false });
      },
      (response) => {
        this.#underWay--;
        if (response === undefined) return;
        book.read(groupId, floor, isFresh, sessionIndex, response, asked);
        if (!isNamed) this.#travellers.saw(region, response);
        if (level === ReadLevel.SESSION) this.#sessions.set(groupId, Math.max(this.#sessions.get(groupId) ?? 0, response.position?.index ?? 0));
        this.#parts.recorder.sometimes(`read at level ${level}`);
      },
    );
  }

  /** At containers, so as to know where they are and what they hold. */
  #look(region: Region): void {
    const { entities, containers } = this.#containers.names();
    this.#underWay++;
    this.#way.ask<ReadResponse>(
      (node, deadlineMs, done, fail) => {
        const request = {
          region, level: ReadLevel.LINEARIZABLE, entities, accounts: [], containers, sessionPositions: [], maxStalenessMs: 0, pageSize: 0, pageToken: "", includeEventual: false, session: undefined,
        };
        readFrom(node.mesh, request, deadlineMs, { done, fail: (error) => fail(reasonOf(error)), isGone: () => false });
      },
      (response) => {
        this.#underWay--;
        if (response !== undefined) this.#containers.saw(region, response);
      },
    );
  }

  /** Names in several groups, in one cut: a checker of histories sees it beside the transactions. Of a group one region is read. */
  #readSnapshot(regions: readonly Region[]): void {
    const { book, groups, recorder } = this.#parts;
    const parts: { region: Region; groupId: number; entities: EntityKey[]; accounts: string[] }[] = [];
    for (const region of regions) {
      const groupId = groupOf(region, groups);
      if (parts.every((part) => part.groupId !== groupId)) parts.push({ region, groupId, entities: this.#names(region), accounts: this.#accounts() });
    }
    const asked = book.requests.snapshot(this.#name, parts);
    const floors = parts.map(({ groupId }) => book.floorOf(groupId));
    this.#underWay++;
    this.#way.ask<ReadSnapshotResponse>(
      (node, deadlineMs, done, fail) => readSnapshotFrom(node.mesh, { parts }, deadlineMs, { done, fail: (error) => fail(reasonOf(error)), isGone: () => false }),
      (response, reason) => {
        this.#underWay--;
        recorder.sometimes(response === undefined ? `snapshot ${reason}` : `snapshot of ${parts.length} groups`);
        if (response !== undefined) book.snapshot(parts.map(({ groupId }, at) => ({ groupId, floor: floors[at] ?? 0 })), response, asked);
      },
    );
  }

  /** The names at the first places of a region. */
  #names(region: Region): EntityKey[] {
    const places = Array.from({ length: Math.min(6, this.#parts.names) }, (_, at) => `${region.x}.${region.y}.${region.z}.${at * 8}`);
    return places.flatMap((place) => [{ kind: "claim", entityId: `r-${place}` }, { kind: "creature", entityId: `c-${place}` }, ...[0, 1].map((n) => ({ kind: "structure", entityId: `s-${place}-${n}` }))]);
  }

  #entities(region: Region): EntityKey[] {
    return Array.from({ length: 4 }, () => {
      const place = `${region.x}.${region.y}.${region.z}.${this.#random.between(0, this.#parts.names) * 8}`;
      const traveller = this.#parts.travellers > 0 && this.#random.chance(0.5) ? this.#travellers.name() : undefined;
      if (traveller !== undefined) return traveller;
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
    const key = `e${this.#random.between(1, this.#parts.names)}`;
    const value = new TextEncoder().encode(`${this.serverId}-${++this.#serial}`);
    const updates = this.#random.chance(0.7) ? [{ type: this.#own.eventual(), region, key, value, deleted: this.#random.chance(0.1), timestampMs: 0 }] : [];
    const events = updates.length === 0 || this.#random.chance(0.3) ? [{ type: this.#own.causal(), region, key, payload: value }] : [];
    const request = { serverId: this.serverId, updates, events, causalToken: this.#token, session: undefined };
    this.#underWay++;
    this.#way.ask<PublishResponse>(
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
        for (const { type } of [...updates, ...events]) this.#parts.recorder.ofType(type, response === undefined ? `unanswered with ${reason}` : "published");
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
