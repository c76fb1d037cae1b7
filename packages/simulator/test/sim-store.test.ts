import type { Entity, MaterializeRequest } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { batchOf, entityOf } from "../../store/test/materialization-contract.ts";
import { materializedRows, type SimRandom, SimSql, SimStore, SimStoreLink, Simulation, type StoreWeather } from "../src/index.ts";

/** Seeds differ from run to run; a failure names its own. */
const SEED = Number(process.env["SIM_SEED"] ?? (Date.now() % 1_000_000) * 100);

const REGIONS = 4;

/** One group's log: entities by log index. */
class Log {
  readonly entries: { readonly index: number; readonly id: string; readonly version: number; readonly x: number; readonly removed: boolean }[] = [];
  readonly #random: SimRandom;

  constructor(random: SimRandom) {
    this.#random = random;
  }

  grow(): void {
    const index = this.entries.length + 1;
    const id = `e${this.#random.between(0, 20)}`;
    this.entries.push({ index, id, version: index, x: this.#random.between(0, REGIONS - 1), removed: this.#random.chance(0.2) });
  }

  /** What the group holds at an index: entity and version. */
  at(index: number): Map<string, Entity> {
    const held = new Map<string, Entity>();
    for (const { id, version, x, removed } of this.entries.slice(0, index)) {
      if (removed) held.delete(id);
      else held.set(id, entityOf(id, version, x));
    }
    return held;
  }

  /** The batch from one place to another, as a leader makes it: the newest of each row. */
  batch(groupId: number, after: number, through: number): MaterializeRequest {
    const touched = new Map<string, number>();
    for (const { id, index } of this.entries.slice(after, through)) touched.set(id, index);
    const held = this.at(through);
    const entities: Entity[] = [];
    const removed: MaterializeRequest["removed"] = [];
    for (const [id, version] of touched) {
      const entity = held.get(id);
      if (entity === undefined) removed.push({ kind: "structure", entityId: id, region: undefined, version });
      else entities.push(entity);
    }
    return batchOf(groupId, after, through, { entities, removed });
  }

  copy(groupId: number, through: number, copyId: number): MaterializeRequest[] {
    const all = [...this.at(through).values()];
    const middle = Math.floor(all.length / 2);
    return [all.slice(0, middle), all.slice(middle)].map((entities, part) => batchOf(groupId, 0, through, { entities, fullCopy: { copyId, part, last: part === 1 } }));
  }
}

/** A leader, as several of them may believe to be: it asks where the store stands and sends what follows, or a full copy. */
class Leader {
  readonly #link: SimStoreLink;
  readonly #simulation: Simulation;
  readonly #log: Log;
  readonly #groupId: number;
  readonly #random: SimRandom;
  #stopped = false;
  applied = 0;

  constructor(simulation: Simulation, link: SimStoreLink, log: Log, groupId: number) {
    this.#simulation = simulation;
    this.#link = link;
    this.#log = log;
    this.#groupId = groupId;
    this.#random = simulation.random.fork();
    this.#ask();
  }

  stop(): void {
    this.#stopped = true;
    this.#link.close();
  }

  #later(run: () => void): void {
    this.#simulation.after(this.#random.between(1, 30), () => {
      if (!this.#stopped) run();
    });
  }

  #ask(): void {
    this.#link.watermarks((watermarks) => {
      if (watermarks === undefined) this.#later(() => this.#ask());
      else this.#send(watermarks.get(this.#groupId) ?? 0);
    });
  }

  #send(after: number): void {
    if (this.#random.chance(0.1)) {
      this.#copy(this.#log.copy(this.#groupId, this.#log.entries.length, this.#simulation.random.between(1, 1_000_000)));
      return;
    }
    const through = Math.min(this.#log.entries.length, after + this.#random.between(1, 8));
    if (through === after) return this.#later(() => this.#ask());
    this.#link.materialize(this.#log.batch(this.#groupId, after, through), (response) => {
      if (response?.applied === true) this.applied++;
      this.#later(() => (response === undefined ? this.#ask() : this.#send(response.watermark)));
    });
  }

  #copy([part, ...rest]: MaterializeRequest[]): void {
    if (part === undefined) return this.#later(() => this.#ask());
    this.#link.materialize(part, (response) => this.#later(() => (response?.applied === true ? this.#copy(rest) : this.#ask())));
  }
}

function stored(sql: SimSql, groupId: number): string[] {
  return materializedRows(sql, groupId).entities.map((entity) => `${entity.entityId}@${entity.version} in ${entity.region?.x ?? -1}`).sort();
}

describe("a region store over a database under every fault", () => {
  it("holds at every moment exactly what each group holds at its watermark, and catches up when all is well again", async () => {
    const seen = { connections: 0, refused: 0, statements: 0, commits: 0, conflicts: 0, serialization: 0, slow: 0, unknownDone: 0, unknownNotDone: 0, failovers: 0 };
    for (let seed = SEED; seed < SEED + 6; seed++) {
      const simulation = new Simulation(seed);
      const sql = new SimSql(simulation, { minDelayMs: 0.2, maxDelayMs: 4, refusal: 0.02, serialization: 0.02, slowness: 0.004, unknownCommit: 0.1 });
      const stores = [new SimStore(simulation, sql), new SimStore(simulation, sql)];
      const weather: StoreWeather = { minDelayMs: 0.2, maxDelayMs: 3, loss: 0.05, cut: false };
      const logs = [0, 1].map(() => new Log(simulation.random.fork()));
      const leaders = [0, 1, 2, 3].map((at) => new Leader(simulation, new SimStoreLink(simulation, stores[at % 2]!, { clusterId: "contract", timeoutMs: 400, weather }), logs[at >> 1]!, at >> 1));
      const watermarks = [0, 0];
      let checked = 0;
      // A full copy under way holds newer rows than its watermark: compared only where none is.
      const check = (): void => {
        for (const groupId of [0, 1]) {
          const watermark = materializedRows(sql, groupId).watermarks.get(groupId) ?? 0;
          expect(watermark, `seed ${seed}: the watermark of group ${groupId} went back`).toBeGreaterThanOrEqual(watermarks[groupId]!);
          watermarks[groupId] = watermark;
          const row = sql.committed<{ copyId: number; copyThroughIndex: number }>(`watermark/${groupId}/`)[0];
          if (row !== undefined && row.copyThroughIndex > watermark) continue;
          checked++;
          const held = [...logs[groupId]!.at(watermark).values()].map((entity) => `${entity.entityId}@${entity.version} in ${entity.region?.x ?? -1}`).sort();
          expect(stored(sql, groupId), `seed ${seed}: group ${groupId} at ${watermark}`).toEqual(held);
        }
      };
      for (let round = 0; round < 150; round++) {
        for (const log of logs) if (log.entries.length < 400) log.grow();
        if (simulation.random.chance(0.03)) sql.failover(simulation.random.between(5, 300));
        const store = simulation.random.pick(stores);
        if (simulation.random.chance(0.04)) store.crash();
        else store.start();
        weather.cut = simulation.random.chance(0.03);
        await simulation.runFor(simulation.random.between(1, 60));
        check();
      }
      for (const store of stores) store.start();
      weather.cut = false;
      weather.loss = 0;
      sql.weather = { minDelayMs: 0.2, maxDelayMs: 2, refusal: 0, serialization: 0, slowness: 0, unknownCommit: 0 };
      const done = (): boolean => [0, 1].every((groupId) => materializedRows(sql, groupId).watermarks.get(groupId) === logs[groupId]!.entries.length);
      expect(await simulation.runUntilHolds(done, 30_000), `seed ${seed}: it never caught up`).toBe(true);
      check();
      expect(checked, `seed ${seed}`).toBeGreaterThan(20);
      for (const leader of leaders) leader.stop();
      for (const name of Object.keys(seen) as (keyof typeof seen)[]) seen[name] += sql.counts[name];
    }
    // No fault that is offered here may be one that never comes.
    for (const [name, count] of Object.entries(seen)) expect(count, `${name} of seeds from ${SEED}`).toBeGreaterThan(0);
  });

  it("runs the same again from the same seed", async () => {
    const run = async (): Promise<string> => {
      const simulation = new Simulation(SEED);
      const sql = new SimSql(simulation, { minDelayMs: 0.2, maxDelayMs: 4, refusal: 0.05, serialization: 0.05, slowness: 0.01, unknownCommit: 0.1 });
      const log = new Log(simulation.random.fork());
      for (let n = 0; n < 100; n++) log.grow();
      const link = new SimStoreLink(simulation, new SimStore(simulation, sql), { clusterId: "contract", timeoutMs: 400, weather: { minDelayMs: 0.2, maxDelayMs: 3, loss: 0.05, cut: false } });
      const leader = new Leader(simulation, link, log, 1);
      await simulation.runFor(3_000);
      leader.stop();
      return JSON.stringify([sql.counts, leader.applied, stored(sql, 1), simulation.eventsRun]);
    };
    expect(await run()).toBe(await run());
  });

  it("answers nobody while it is down, and calls under way are never answered by a dead process", async () => {
    const simulation = new Simulation(SEED);
    const sql = new SimSql(simulation);
    const store = new SimStore(simulation, sql);
    let answered = false;
    store.materialize(batchOf(1, 0, 1, { entities: [entityOf("a", 1)] })).then(
      () => (answered = true),
      () => (answered = true),
    );
    await simulation.runFor(0.5);
    store.crash();
    await simulation.runFor(10_000);
    expect(answered).toBe(false);
    await expect(simulation.settle(store.watermarks("contract"))).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
    store.start();
    expect(await simulation.settle(store.materialize(batchOf(1, 0, 1, { entities: [entityOf("a", 1)] })))).toEqual({ applied: true, watermark: 1 });
    expect(stored(sql, 1)).toEqual(["a@1 in 0"]);
  });
});
