// A mesh whose game servers do nothing but what a test says, step by step, under every invariant of the simulator.
import { acquire, register } from "@statemesh/node";
import { CustomAction_Expectation, type Decision, Operation, Outcome, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { expect } from "vitest";
import { comeToRest, type MeshSettings, type PlainRecord, Recorder, Simulation } from "../../src/index.ts";
import { type OpenOperation, reasonOf } from "../../src/mesh/call-book.ts";
import { MeshInjector } from "../../src/mesh/mesh-injector.ts";
import { MeshWorld } from "../../src/mesh/mesh-world.ts";
import type { AnsweringNode } from "../../src/mesh/shard-network.ts";
import { START_WALL_MS } from "../../src/sim-clock.ts";
import { settingsOf } from "./scenario.ts";

const CALL_MS = 3_000;
const TRIES_MAX = 40;
const RETRY_MS = 200;
/** Reasons after which a player's server asks again, through another node. */
const AGAIN: readonly string[] = ["OUTCOME_UNKNOWN", "UNREACHABLE", "NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "TRANSACTION_PENDING", "OVERLOADED", "INTERNAL"];
const NO_INVENTORY = { containerId: "", counterpartyContainerId: "", playerId: "", counterpartyId: "", itemId: "", itemKind: "diamond", position: undefined, counterpartyRegion: undefined };

/** What a server was told: `done`, or the reason why not. */
export interface Asked {
  readonly operation: Operation;
  readonly open: OpenOperation;
  answer: string | undefined;
}

export class Script {
  readonly world: MeshWorld;
  readonly #injector: MeshInjector;
  #rested = false;

  private constructor(seed: number, settings: Partial<MeshSettings>) {
    const simulation = new Simulation(seed);
    // The servers are there, keep what they have, and do nothing by themselves.
    this.world = new MeshWorld(simulation, new Recorder(simulation), settingsOf({ groups: 2, regionsPerGroup: 1, paceMs: 1e12, ...settings }));
    this.#injector = new MeshInjector(this.world);
  }

  /** Plays once with each seed, and comes to rest after it. */
  static async play(settings: Partial<MeshSettings>, seeds: readonly number[], act: (script: Script, seed: number) => Promise<void>): Promise<void> {
    for (const seed of seeds) {
      const script = new Script(seed, settings);
      const { world } = script;
      world.start();
      await script.until(() => world.isServing && world.isConnected);
      await script.run(1_500);
      await act(script, seed);
      if (!script.#rested) await script.rest();
      expect({ seed, violations: world.recorder.outcome().violations }).toEqual({ seed, violations: [] });
    }
  }

  /** All faults end, and all that is under way; once, at the end. */
  async rest(): Promise<void> {
    this.#rested = true;
    await comeToRest(this.world, this.#injector);
  }

  async run(ms: number): Promise<void> {
    await this.world.simulation.runFor(ms);
  }

  async until(holds: () => boolean, limitMs = 60_000): Promise<void> {
    const held = await this.world.simulation.runUntilHolds(() => holds() || this.world.recorder.isOver, limitMs);
    expect(this.world.recorder.outcome().violations).toEqual([]);
    expect(held, "it came about").toBe(true);
  }

  fault(kind: string, args: PlainRecord = {}): void {
    this.#injector.inject({ atMs: 0, kind, args });
  }

  /** The first region of a group, from 1. */
  region(groupId: number): Region {
    const found = this.world.regions.find((region) => groupOf(region, this.world.settings.groups) === groupId);
    if (found === undefined) throw new RangeError(`no region of group ${groupId}`);
    return found;
  }

  /** What accounts hold, by group and account, in the committed log. */
  get diamonds(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const { state } of this.world.references) for (const { account, quantity } of state.ledger.rows()) if (!account.startsWith("group:")) found[`${state.groupId} ${account}`] = quantity;
    return found;
  }

  /** Where entities of a studio's own type stand, in the committed log: `operation in group N`. */
  standing(entityId: string): string[] {
    return this.world.references.flatMap(({ state }) => [...state.entities.values()].filter((one) => one.entityId === entityId).map(({ operationId }) => `${operationId} in group ${state.groupId}`));
  }

  /** Sends it and goes on at once; `via` is the node, else the first. It is not asked again. */
  send(operation: Operation, via = 1): Asked {
    const stamped = this.#stamp(operation);
    return this.#try(stamped, this.#open(stamped), via);
  }

  /** Asks, and asks again through other nodes, with the same id, until it is decided or refused for good. `asked`: what was sent before, or is new. */
  async ask(asked: Operation | Asked, via = 1): Promise<string> {
    const operation = "operation" in asked ? asked.operation : this.#stamp(asked);
    const open = "operation" in asked ? asked.open : this.#open(operation);
    for (let turn = 0; turn < TRIES_MAX; turn++) {
      const attempt = this.#try(operation, open, 1 + ((via - 1 + turn) % this.world.settings.nodes));
      await this.until(() => attempt.answer !== undefined);
      const { answer = "" } = attempt;
      if (!AGAIN.includes(answer)) return answer;
      await this.run(RETRY_MS);
    }
    throw new Error(`${operation.operationId} was never decided`);
  }

  #stamp(operation: Operation): Operation {
    return { ...operation, timestampMs: START_WALL_MS + Math.floor(this.world.simulation.nowMs) };
  }

  #open(operation: Operation): OpenOperation {
    const { book, settings } = this.world;
    const groupId = operation.homeRegion === undefined ? 0 : groupOf(operation.homeRegion, settings.groups);
    return book.begin(operation.operationId, groupId, book.requests.write(`server ${operation.serverId}`, groupId, [operation], ""));
  }

  #try(operation: Operation, open: OpenOperation, via: number): Asked {
    open.tries++;
    const asked: Asked = { operation, open, answer: undefined };
    const { book, network } = this.world;
    network.ask<Decision>(
      via, CALL_MS,
      (node, deadlineMs, decided, fail) => {
        node.mesh.edge.execute([Operation.decode(Operation.encode(operation).finish())], deadlineMs, { decided, failed: (_, { reason }) => fail(reason) });
        node.mesh.dirty();
      },
      (decision, reason) => {
        if (decision === undefined) book.failed(open, reason ?? "UNREACHABLE");
        else book.decided(open, decision);
        asked.answer = decision === undefined ? reason : decision.outcome === Outcome.REJECTED ? decision.reason : "done";
      },
    );
    return asked;
  }

  /** A call of the directory: what it answers, or the reason why not. Its caller waits for so long. */
  async directory<T>(via: number, call: (node: AnsweringNode, deadlineMs: number) => Promise<T>, timeoutMs = CALL_MS): Promise<T | string> {
    let answer: T | string | undefined;
    this.world.network.ask<T>(via, timeoutMs, (node, deadlineMs, done, fail) => void call(node, deadlineMs).then(done, (error: unknown) => fail(reasonOf(error))), (response, reason) => {
      answer = response ?? reason ?? "UNREACHABLE";
    });
    await this.until(() => answer !== undefined);
    return answer ?? "UNREACHABLE";
  }

  /** The epoch that a server is given, or the reason why not. */
  async acquire(serverId: number, region: Region, via = 1, timeoutMs = CALL_MS): Promise<number | string> {
    const answer = await this.directory(via, (node, deadlineMs) => acquire(node.authority, { serverId, region }, deadlineMs), timeoutMs);
    return typeof answer === "string" ? answer : (answer.lease?.epoch ?? 0);
  }

  /** `ok`, or the reason why not. */
  async register(serverId: number, name: string, incarnation: number, via = 1): Promise<string> {
    const answer = await this.directory(via, (node, deadlineMs) => register(node.authority, { serverId, name, address: "", incarnation, maxRegions: 0 }, deadlineMs));
    return typeof answer === "string" ? answer : "ok";
  }
}

type Inventory = { readonly [Field in "playerId" | "counterpartyId" | "itemId"]?: string } & { readonly counterpartyRegion?: Region; readonly under?: number };

function inventory(operationId: string, serverId: number, homeRegion: Region, action: PlayerInventory_Action, quantity: number, { under = 0, ...fields }: Inventory): Operation {
  const position = fields.itemId === undefined ? undefined : { x: homeRegion.x * 2_000 + 5, y: homeRegion.y * 2_000 + 5, z: homeRegion.z * 2_000 + 5 };
  return { ...Operation.fromPartial({ operationId, serverId, homeRegion, type: "player_inventory", authorityEpoch: under }), body: { $case: "playerInventory", value: { ...NO_INVENTORY, action, quantity, position, ...fields } } };
}

export function mint(id: string, serverId: number, region: Region, playerId: string, quantity: number, under = 0): Operation {
  return inventory(id, serverId, region, PlayerInventory_Action.MINT, quantity, { playerId, under });
}

/** To another account of the region, or of another one. */
export function give(id: string, serverId: number, region: Region, playerId: string, to: string, quantity: number, more: Inventory = {}): Operation {
  return inventory(id, serverId, region, PlayerInventory_Action.TRANSFER, quantity, { playerId, counterpartyId: to, ...more });
}

export function drop(id: string, serverId: number, region: Region, playerId: string, itemId: string, quantity: number, under = 0): Operation {
  return inventory(id, serverId, region, PlayerInventory_Action.DROP, quantity, { playerId, itemId, under });
}

export function pickup(operationId: string, serverId: number, homeRegion: Region, itemId: string, playerId: string): Operation {
  return { ...Operation.fromPartial({ operationId, serverId, homeRegion, type: "item_pickup" }), body: { $case: "itemPickup", value: { itemId, playerId } } };
}

/** An entity of a studio's own type, with the operation's id as its state. */
export function write(operationId: string, serverId: number, homeRegion: Region, entityId: string, { expectation = CustomAction_Expectation.UNSPECIFIED, observedVersion = 0, toRegion, under = 0 }: {
  readonly expectation?: CustomAction_Expectation; readonly observedVersion?: number; readonly toRegion?: Region; readonly under?: number;
} = {}): Operation {
  const value = { entityId, state: new TextEncoder().encode(operationId), toRegion, expectation, observedVersion };
  return { ...Operation.fromPartial({ operationId, serverId, homeRegion, type: "spell", authorityEpoch: under }), body: { $case: "custom", value } };
}
