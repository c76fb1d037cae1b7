// A reader of a few regions: a snapshot, then every change in order, without a gap or a repeat, also across nodes.
import type { Entity, EventualValue, Region, SubscribeResponse, SubscriptionMoved } from "@statemesh/contract";
import { type NodeRuntime, subscribe } from "@statemesh/node";
import { MeshError } from "@statemesh/contract";
import { groupOf, sameRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import { isEarlier } from "./eventual-observer.ts";
import { SimArea } from "./sim-area.ts";
import { type ReferenceGroup, entityKey } from "./reference-group.ts";
import type { SimMachine } from "./sim-machine.ts";

const MESSAGE_BYTES = 64 * 1024;
/** Of a reader that walks: what comes into reach does so in several parts. */
const SMALL_MESSAGE_BYTES = 300;
/** Between two steps of a reader that walks, milliseconds. */
const STEP_MS = { min: 50, max: 600 };
/** Messages taken at a time. */
const MESSAGES = 16;
const RETRY_MS = 300;

export interface SubscriberParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly machines: ReadonlyMap<number, SimMachine>;
  readonly references: readonly ReferenceGroup[];
  readonly groups: number;
  readonly regions: readonly Region[];
  /** Milliseconds from a sign that there is something to read until it is read: slow readers lag. */
  readonly paceMs: number;
  /** It has an area that moves, instead of the regions. */
  readonly walks: boolean;
  readonly eventualIntervalMs: number;
}

export class SimSubscriber {
  readonly #parts: SubscriberParts;
  readonly #random: SimRandom;
  readonly #name: string;
  readonly #area: SimArea | undefined;
  #stands = false;
  #runtime: NodeRuntime | undefined;
  /** A node that has not answered yet: it is behind the token. */
  #asked: NodeRuntime | undefined;
  #id = 0;
  #token = "";
  #due = false;
  #inSnapshot = false;
  #inMove = false;
  /** The snapshot is whole: the reader knows the regions. */
  #isWhole = false;
  /** What stands in the regions, by entity; and what was ever seen of each: it never goes back. */
  readonly view = new Map<string, number>();
  readonly #where = new Map<string, Region>();
  readonly #newest = new Map<string, number>();
  readonly values = new Map<string, EventualValue>();
  /** By group: how far into the reference's changes the reader is; absent: not yet known since the last snapshot. */
  readonly #cursors = new Map<number, number>();

  constructor(name: string, parts: SubscriberParts) {
    this.#name = name;
    this.#parts = parts;
    this.#random = parts.simulation.random.fork();
    if (parts.walks) this.#area = new SimArea(parts.regions, this.#random);
  }

  start(): void {
    this.#subscribe();
    if (this.#area !== undefined) this.#walk(this.#area);
  }

  /** It stays where it is. */
  stand(): void {
    this.#stands = true;
  }

  #walk(area: SimArea): void {
    this.#parts.simulation.after(this.#random.between(STEP_MS.min, STEP_MS.max), () => {
      if (this.#stands) return;
      area.walk();
      this.#runtime?.mesh.subscriptions.move(this.#id, area.wanted);
      this.#walk(area);
    });
  }

  /** What it reads, as far as it was told. */
  get #regions(): readonly Region[] {
    return this.#area?.covered ?? this.#parts.regions;
  }

  #covers(region: Region): boolean {
    return this.#regions.some((each) => sameRegion(each, region));
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  #subscribe(): void {
    const { machines, simulation, recorder, regions, eventualIntervalMs } = this.#parts;
    const machine = this.#random.pick([...machines.values()]);
    const runtime = machine.runtime;
    if (runtime === undefined || machine.gate.isPaused) {
      simulation.after(RETRY_MS, () => this.#subscribe());
      return;
    }
    if (this.#random.chance(0.2)) this.#forget();
    const refused = (error: unknown): void => {
      const { reason } = MeshError.from(error);
      recorder.sometimes(`subscription refused with ${reason}`);
      // A node that is behind says nothing about the token.
      if (reason !== "TOKEN_AHEAD") this.#forget();
      simulation.after(RETRY_MS, () => this.#subscribe());
    };
    this.#asked = runtime;
    const isGone = (): boolean => this.#asked !== runtime;
    const fail = (error: unknown): void => {
      if (isGone()) return;
      this.#asked = undefined;
      refused(error);
    };
    const request = { regions: this.#area === undefined ? [...regions] : [], area: this.#area?.wanted, strong: true, eventual: true, causal: true, eventualIntervalMs, resumeToken: this.#token };
    try {
      subscribe(runtime.mesh, request, { done: (id) => this.#subscribed(runtime, id), fail, isGone });
    } catch (error) {
      fail(error);
    }
  }

  #subscribed(runtime: NodeRuntime, id: number): void {
    this.#asked = undefined;
    this.#id = id;
    // Another node may not have heard of what this one had.
    this.values.clear();
    this.#inMove = false;
    if (this.#token !== "") this.#parts.recorder.sometimes("subscription resumed");
    this.#runtime = runtime;
    // It went on while the node caught up.
    if (this.#area !== undefined) runtime.mesh.subscriptions.move(id, this.#area.wanted);
    this.#pull();
  }

  /** Starts anew: what was seen does not bind a new stream without a token. */
  #forget(): void {
    this.#token = "";
    this.#isWhole = false;
    this.#newest.clear();
    this.#cursors.clear();
  }

  /** The node says that there is something to read. */
  readable(runtime: NodeRuntime, id: number): void {
    if (runtime === this.#runtime && id === this.#id) this.#pull();
  }

  /** The node's process ended. */
  ended(runtime: NodeRuntime): void {
    if (runtime !== this.#runtime && runtime !== this.#asked) return;
    this.#runtime = undefined;
    this.#asked = undefined;
    this.#parts.simulation.after(RETRY_MS, () => this.#subscribe());
  }

  /** The reader goes to another node by itself. */
  move(): void {
    const runtime = this.#runtime;
    if (runtime === undefined) return;
    runtime.mesh.subscriptions.unsubscribe(this.#id);
    this.ended(runtime);
  }

  #pull(): void {
    if (this.#due) return;
    this.#due = true;
    const runtime = this.#runtime;
    // Once it stands it reads as it can: what is judged then is what it was told, not how slow it was.
    this.#parts.simulation.after(this.#stands ? 1 : this.#parts.paceMs, () => {
      this.#due = false;
      if (runtime === undefined || runtime !== this.#runtime) {
        if (this.#runtime !== undefined) this.#pull();
        return;
      }
      for (let taken = 0; taken < MESSAGES; taken++) {
        const response = runtime.mesh.subscriptions.next(this.#id, this.#area === undefined ? MESSAGE_BYTES : SMALL_MESSAGE_BYTES);
        if (response === undefined) return;
        this.#take(response);
      }
      this.#pull();
    });
  }

  #take({ event, resumeToken }: SubscribeResponse): void {
    this.#token = resumeToken;
    if (event?.$case === "lagged") {
      this.#parts.recorder.sometimes("subscriber lagged");
      this.#isWhole = false;
      this.#inSnapshot = false;
      return;
    }
    if (event?.$case === "snapshot") return this.#takeSnapshot(event.value);
    if (event?.$case === "moved") return this.#takeMove(event.value);
    if (event?.$case !== "changes") return;
    this.#inSnapshot = false;
    for (const { entity, removed, position } of event.value.entities) {
      if (entity === undefined || position === undefined) continue;
      this.#follow(position.groupId, position.index, entityKey(entity), removed);
      if (removed) this.view.delete(this.#keyOf(entity));
      else this.#put(entity);
      this.#newest.set(this.#keyOf(entity), position.index);
    }
    for (const value of event.value.values) this.#takeValue(value);
  }

  /** By group: what goes from one to another may be told of there before it is gone here. */
  #keyOf(entity: Entity): string {
    return `${entity.region === undefined ? 0 : groupOf(entity.region, this.#parts.groups)} ${entityKey(entity)}`;
  }

  #put(entity: Entity): void {
    this.view.set(this.#keyOf(entity), entity.version);
    if (entity.region !== undefined) this.#where.set(this.#keyOf(entity), entity.region);
  }

  /** What came into reach stands there whole, and what is out of reach is forgotten: what was seen of it binds nobody any more. */
  #takeMove(part: SubscriptionMoved): void {
    this.#area?.take(part, !this.#inMove);
    if (!this.#inMove) {
      const gone = [...part.entered, ...part.left];
      for (const [key, region] of this.#where) {
        if (!gone.some((each) => sameRegion(each, region))) continue;
        this.view.delete(key);
        this.#newest.delete(key);
        this.#where.delete(key);
      }
      for (const [key, { region }] of this.values) if (region !== undefined && gone.some((each) => sameRegion(each, region))) this.values.delete(key);
    }
    this.#inMove = !part.complete;
    this.#isWhole = part.complete;
    for (const entity of part.entities) {
      this.#put(entity);
      this.#newest.set(this.#keyOf(entity), entity.version);
    }
    for (const value of part.values) this.#takeValue(value);
    // The next change of each group has to fit what stands now.
    this.#cursors.clear();
    if (part.complete) this.#parts.recorder.sometimes("subscription moved");
  }

  #takeSnapshot({ entities, values, complete, regions }: { entities: readonly Entity[]; values: readonly EventualValue[]; complete: boolean; regions: readonly Region[] }): void {
    if (!this.#inSnapshot) {
      this.#inSnapshot = true;
      this.#isWhole = false;
      this.#inMove = false;
      this.view.clear();
      this.#where.clear();
      this.values.clear();
      this.#cursors.clear();
    }
    for (const entity of entities) {
      const key = this.#keyOf(entity);
      const newest = this.#newest.get(key) ?? 0;
      if (entity.version < newest) this.#fail("subscriptions never go back", `${this.#name} saw ${key} at ${newest}, and in a later snapshot at ${entity.version}`);
      this.#put(entity);
      this.#newest.set(key, Math.max(newest, entity.version));
    }
    for (const value of values) this.#takeValue(value);
    if (!complete) return;
    this.#inSnapshot = false;
    this.#isWhole = true;
    if (this.#area !== undefined) this.#area.covered = regions;
    this.#parts.recorder.sometimes("subscription snapshot");
  }

  #takeValue(value: EventualValue): void {
    const key = valueKey(value);
    const before = this.values.get(key);
    if (before !== undefined && isEarlier(value, before)) this.#fail("eventual values never go back", `${this.#name}: ${key}`);
    if (value.deleted) this.values.delete(key);
    else this.values.set(key, value);
  }

  /** Before the first change that follows a snapshot, the reader holds what stood right before that change. */
  #checkHandOver(groupId: number, index: number, key: string): void {
    const { references } = this.#parts;
    const expected = new Map<string, number>();
    for (const { index: at, change } of references[groupId]?.changes ?? []) {
      // What else the entry changed may be before or behind the one that was told.
      if (at >= index) break;
      const { entity, removed } = change;
      const region = entity?.region;
      if (entity === undefined || region === undefined || !this.#covers(region)) continue;
      if (removed) expected.delete(this.#keyOf(entity));
      else expected.set(this.#keyOf(entity), entity.version);
    }
    const said = `${this.#name} was told of ${key} at ${index} of group ${groupId} after a snapshot`;
    const gap = "subscriptions have no gap and no repeat";
    for (const [name, version] of expected) {
      if (this.view.get(name) !== version) return this.#fail(gap, `${said}, and held ${name} at ${this.view.get(name)}, where it stood at ${version}`);
    }
    for (const name of this.view.keys()) {
      const where = this.#where.get(name);
      // Of a region that the reader was entering when its stream broke it has a part, until it enters it anew or leaves it.
      if (where !== undefined && !this.#covers(where)) continue;
      if (name.startsWith(`${groupId} `) && !expected.has(name)) return this.#fail(gap, `${said}, and held ${name}, which was gone`);
    }
  }

  /** The change is the next of the log that lies in the regions. */
  #follow(groupId: number, index: number, key: string, removed: boolean): void {
    const changes = this.#parts.references[groupId]?.changes ?? [];
    const cursor = this.#cursors.get(groupId);
    if (cursor === undefined) this.#checkHandOver(groupId, index, key);
    let at = cursor === undefined ? changes.findIndex((each) => each.index === index) : cursor + 1;
    if (at < 0) return this.#fail("subscriptions", `${this.#name} was told of ${key} at ${index} of group ${groupId}, which nobody committed`);
    for (; at < changes.length; at++) {
      const change = changes[at];
      const region = change?.change.entity?.region;
      if (change?.change.entity === undefined || region === undefined || !this.#covers(region)) continue;
      const isIt = change.index === index && entityKey(change.change.entity) === key && change.change.removed === removed;
      if (isIt) {
        this.#cursors.set(groupId, at);
        return;
      }
      if (cursor !== undefined) return this.#fail("subscriptions have no gap and no repeat", `${this.#name} was told of ${key} at ${index} of group ${groupId}, next is ${entityKey(change.change.entity)} at ${change.index}`);
    }
    this.#fail("subscriptions have no gap and no repeat", `${this.#name} was told of ${key} at ${index} of group ${groupId}${cursor === undefined ? ", which is not in the log" : ", a repeat"}`);
  }

  /** In quiet: the reader holds what stands in its regions. */
  checkFinal(): string | undefined {
    const { references, groups } = this.#parts;
    const expected = new Map<string, number>();
    for (const region of this.#regions) {
      for (const entity of references[groupOf(region, groups)]?.state.entities.inRegion(region)?.values() ?? []) expected.set(this.#keyOf(entity), entity.version);
    }
    if (!this.#isWhole) return `${this.#name} has no whole snapshot`;
    if (this.#area?.problem !== undefined) return `${this.#name} ${this.#area.problem}`;
    for (const [key, version] of expected) if (this.view.get(key) !== version) return `${this.#name} has ${key} at ${this.view.get(key)}, it stands at ${version}`;
    for (const key of this.view.keys()) if (!expected.has(key)) return `${this.#name} has ${key}, which is gone`;
    return this.#valuesProblem;
  }

  /** All nodes hold the same by then. */
  get #valuesProblem(): string | undefined {
    const { eventual } = this.#runtime?.mesh ?? {};
    if (eventual === undefined) return `${this.#name} has no node`;
    const expected = this.#regions.flatMap((region) => eventual.valuesOf(region));
    if (expected.length !== this.values.size) return `${this.#name} has ${this.values.size} eventual values, its node ${expected.length}`;
    for (const value of expected) {
      const held = this.values.get(valueKey(value));
      if (held === undefined || isEarlier(held, value)) return `${this.#name} has not the latest of ${valueKey(value)}`;
    }
    return undefined;
  }

  #fail(kind: string, message: string): void {
    this.#parts.recorder.violation(kind, message);
  }
}

function valueKey({ type, key, region }: EventualValue): string {
  return `${type} ${key} ${region?.x} ${region?.y} ${region?.z}`;
}
