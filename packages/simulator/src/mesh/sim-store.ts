// The region store as a node sees it: a database that takes each batch once, by its watermark. It may be away or
// slow, abort a transaction, or lose the answer of one that took effect.
import { type Entity, MaterializeRequest, type MaterializeResponse } from "@statemesh/contract";
import type { StorePort } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";

export type StoreMood = "well" | "away" | "slow" | "aborting" | "forgetful";

const SLOW_MS = 2_000;
const TIMEOUT_MS = 1_500;
/** Of the aborting and the forgetful store: how often it is so. */
const OFTEN = 0.5;

/** A row, and the copy that last wrote it. */
interface Row<Value> {
  readonly value: Value;
  readonly copyId: number;
}

export interface StoredGroup {
  watermark: number;
  afterIndex: number;
  copyId: number;
  copyNextPart: number;
  copyThroughIndex: number;
  readonly entities: Map<string, Row<Entity>>;
  /** By player and item kind. */
  readonly balances: Map<string, Row<number>>;
}

export class SimStore {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #recorder: Recorder;
  readonly groups = new Map<number, StoredGroup>();
  readonly epochs = new Map<string, number>();
  /** Told of each group whose watermark moved, with how the epochs stand. */
  moved: (groupId: number, stored: StoredGroup) => void = () => undefined;
  mood: StoreMood = "well";

  constructor(simulation: Simulation, recorder: Recorder) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.#recorder = recorder;
  }

  port(deliver: () => (run: () => void) => void): StorePort {
    return {
      isRefused: false,
      close: () => undefined,
      materialize: (request, done) => {
        const bytes = MaterializeRequest.encode(request).finish();
        this.#call(deliver(), done, () => this.#materialize(MaterializeRequest.decode(bytes)));
      },
      watermarks: (done) => this.#call(deliver(), done, () => new Map([...this.groups].map(([groupId, { watermark }]) => [groupId, watermark]))),
    };
  }

  #call<Result>(enter: (run: () => void) => void, done: (result: Result | undefined) => void, work: () => Result): void {
    let open = true;
    const answer = (result: Result | undefined): void =>
      enter(() => {
        if (!open) return;
        open = false;
        done(result);
      });
    this.#simulation.after(TIMEOUT_MS, () => answer(undefined));
    if (this.mood === "away") {
      this.#simulation.after(1, () => answer(undefined));
      return;
    }
    const delayMs = 1 + this.#random.next() * 3 + (this.mood === "slow" ? this.#random.next() * SLOW_MS : 0);
    this.#simulation.after(delayMs, () => {
      if (this.mood === "away" || (this.mood === "aborting" && this.#random.chance(OFTEN))) {
        this.#recorder.fault("store transaction aborted");
        return answer(undefined);
      }
      const result = work();
      if (this.mood === "forgetful" && this.#random.chance(OFTEN)) {
        this.#recorder.fault("store answer lost");
        return;
      }
      this.#simulation.after(1, () => answer(result));
    });
  }

  #groupOf(groupId: number): StoredGroup {
    let group = this.groups.get(groupId);
    if (group === undefined) {
      group = { watermark: 0, afterIndex: 0, copyId: 0, copyNextPart: 0, copyThroughIndex: 0, entities: new Map(), balances: new Map() };
      this.groups.set(groupId, group);
    }
    return group;
  }

  #materialize(request: MaterializeRequest): MaterializeResponse {
    const stored = this.#groupOf(request.groupId);
    return request.fullCopy === undefined ? this.#applyBatch(stored, request) : this.#applyPart(stored, request, request.fullCopy);
  }

  #applyBatch(stored: StoredGroup, request: MaterializeRequest): MaterializeResponse {
    const { afterIndex, throughIndex } = request;
    if (stored.watermark !== afterIndex) return { applied: stored.watermark === throughIndex && stored.afterIndex === afterIndex, watermark: stored.watermark };
    this.#write(stored, request, 0);
    for (const { kind, entityId, version } of request.removed) {
      const row = stored.entities.get(`${kind}/${entityId}`);
      if (row !== undefined && row.value.version <= version) stored.entities.delete(`${kind}/${entityId}`);
    }
    stored.watermark = throughIndex;
    stored.afterIndex = afterIndex;
    stored.copyId = 0;
    this.moved(request.groupId, stored);
    return { applied: true, watermark: throughIndex };
  }

  #applyPart(stored: StoredGroup, request: MaterializeRequest, copy: NonNullable<MaterializeRequest["fullCopy"]>): MaterializeResponse {
    const { throughIndex } = request;
    const isNext = copy.part === 0 ? throughIndex >= stored.watermark : stored.copyId === copy.copyId && stored.copyNextPart === copy.part;
    if (!isNext || (copy.part > 0 && stored.copyThroughIndex !== throughIndex)) return { applied: false, watermark: stored.watermark };
    stored.copyId = copy.copyId;
    stored.copyNextPart = copy.part + 1;
    stored.copyThroughIndex = throughIndex;
    this.#write(stored, request, copy.copyId);
    if (!copy.last) return { applied: true, watermark: stored.watermark };
    for (const rows of [stored.entities, stored.balances]) for (const [key, row] of rows) if (row.copyId !== copy.copyId) rows.delete(key);
    this.#recorder.sometimes("store took a full copy");
    stored.watermark = throughIndex;
    stored.copyId = 0;
    this.moved(request.groupId, stored);
    return { applied: true, watermark: throughIndex };
  }

  #write(stored: StoredGroup, request: MaterializeRequest, copyId: number): void {
    for (const entity of request.entities) stored.entities.set(`${entity.kind}/${entity.entityId}`, { value: entity, copyId });
    for (const { accountId, itemKind, quantity } of request.balances) {
      if (quantity === 0) stored.balances.delete(`${accountId}/${itemKind}`);
      else stored.balances.set(`${accountId}/${itemKind}`, { value: quantity, copyId });
    }
    for (const { region, epoch } of request.epochs) {
      const key = region === undefined ? "" : `${region.x}_${region.y}_${region.z}`;
      this.epochs.set(key, Math.max(this.epochs.get(key) ?? 0, epoch));
    }
  }
}
