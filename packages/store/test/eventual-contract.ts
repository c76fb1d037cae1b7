// What every SQL must do with eventual values, run against each adapter: PostgreSQL, and the simulated database.
import type { EventualValue } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EventualValues } from "../src/index.ts";
import type { StoreUnderTest } from "./materialization-contract.ts";

const CLUSTER = "contract";

function value(key: string, ms: number, more: Partial<EventualValue> = {}): EventualValue {
  return { type: "creature_position", region: { x: 0, y: -1, z: 3 }, key, value: Buffer.from(key), deleted: false, serverId: 5, stamp: { physicalMs: ms, logical: 0 }, ...more };
}

/** `make` gives an empty database. */
export function eventualContract(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`eventual values in ${name}`, () => {
    let sql: StoreUnderTest;

    beforeAll(async () => {
      sql = await make();
    });

    afterAll(async () => {
      await sql.close();
    });

    const values = (process: 0 | 1 = 0) => new EventualValues(sql.stores[process]);
    const store = async (list: readonly EventualValue[], forgetDeletedBeforeMs = 0, process: 0 | 1 = 0) => {
      await sql.settle(values(process).store({ clusterId: CLUSTER, values: [...list], forgetDeletedBeforeMs }));
    };
    const load = async (pageSize = 0, pageToken = "") => await sql.settle(values(1).load({ clusterId: CLUSTER, pageSize, pageToken }));
    const all = async (prefix: string) => (await load(1_000)).values.filter(({ key }) => key.startsWith(prefix));

    it("keeps of each key the write that wins, whatever order they come in", async () => {
      const writes = [
        value("win", 10, { serverId: 9 }), value("win", 10, { serverId: 5, value: Buffer.of(1) }), value("win", 10, { serverId: 5, value: Buffer.of(1, 0) }),
        value("win", 10, { serverId: 5, value: Buffer.of(200) }), value("win", 10, { serverId: 5, deleted: true, value: Buffer.of() }),
        value("win", 10, { serverId: 5, stamp: { physicalMs: 10, logical: 1 } }), value("win", 11, { serverId: 7 }),
      ];
      for (const [at, write] of writes.entries()) {
        await store([write]);
        for (const older of writes.slice(0, at + 1)) await store([older], 0, 1);
        expect(await all("win")).toEqual([{ ...write, value: Buffer.from(write.value) }]);
      }
    });

    it("gives back what it was given, byte by byte: any key, any value, any region, times beyond 32 bits", async () => {
      const odd = [
        value("odd\u0000'\"\\{},", 2 ** 43, { value: Buffer.from([0, 255, 10, 92, 34]), region: { x: -1_048_576, y: 1_048_575, z: 0 } }), value("odd🐺", 1),
        value("odd", 1, { type: "power_grid_state", serverId: 0xffff_ffff, stamp: { physicalMs: 1, logical: 0xffff_ffff } }),
      ];
      await store(odd);
      const found = await all("odd");
      expect(found).toHaveLength(3);
      for (const each of odd) expect(found).toContainEqual({ ...each, value: Buffer.from(each.value) });
    });

    it("pages through all values, each once", async () => {
      await store(Array.from({ length: 25 }, (_, at) => value(`page${at}`, 1, { region: { x: at % 3, y: 0, z: 0 }, type: at % 2 === 0 ? "a" : "b" })));
      const keys: string[] = [];
      let token = "";
      do {
        const page = await load(4, token);
        expect(page.values.length).toBeLessThanOrEqual(4);
        keys.push(...page.values.map(({ key }) => key).filter((key) => key.startsWith("page")));
        token = page.nextPageToken;
      } while (token !== "");
      expect(keys.sort()).toEqual(Array.from({ length: 25 }, (_, at) => `page${at}`).sort());
    });

    it("forgets deletions stamped before a time, and nothing that lives or was deleted since", async () => {
      await store([value("old-gone", 100, { deleted: true }), value("old-lives", 100), value("new-gone", 200, { deleted: true })]);
      await store([], 150);
      expect((await all("old")).map(({ key }) => key)).toEqual(["old-lives"]);
      expect(await all("new")).toHaveLength(1);
    });

    it("takes a batch once where the answer to COMMIT was lost", async () => {
      for (const what of ["answer", "request"] as const) {
        sql.loseNextCommit(what);
        await store([value(`lost-${what}`, 5)]);
        expect(await all(`lost-${what}`)).toHaveLength(1);
      }
    });

    it("refuses what is malformed by its field, a key twice, tokens of others, and other clusters", async () => {
      const refusal = (list: readonly EventualValue[]) => sql.settle(values().store({ clusterId: CLUSTER, values: [...list], forgetDeletedBeforeMs: 0 }));
      await expect(refusal([value("", 1)])).rejects.toMatchObject({ field: "values[0].key" });
      await expect(refusal([value("a", 1), value("b", 1, { stamp: undefined })])).rejects.toMatchObject({ field: "values[1].stamp" });
      await expect(refusal([value("twice", 1), value("twice", 2)])).rejects.toMatchObject({ reason: "INVALID_FIELD" });
      expect(await all("twice")).toEqual([]);
      await expect(load(10, "bm8")).rejects.toMatchObject({ reason: "INVALID_PAGE_TOKEN" });
      await expect(sql.settle(values().store({ clusterId: "another", values: [value("theirs", 1)], forgetDeletedBeforeMs: 0 }))).rejects.toMatchObject({ reason: "CLUSTER_MISMATCH" });
      await expect(sql.settle(values().load({ clusterId: "another", pageSize: 0, pageToken: "" }))).rejects.toMatchObject({ reason: "CLUSTER_MISMATCH" });
    });
  });
}
