// What every SQL must do with causal events, run against each adapter: PostgreSQL, and the simulated database.
import { type CausalGroupEvents, type DeliveredEvent, MeshError, type ReadCausalHistoryResponse, type Region, type StoreCausalEventsResponse } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CausalHistory, type CausalRetention, type CausalStore } from "../src/index.ts";

/** One database, and two processes that use it. */
export interface CausalStoreUnderTest {
  readonly causal: readonly [CausalStore, CausalStore];
  settle<T>(work: Promise<T>): Promise<T>;
  loseNextCommit(what: "request" | "answer"): void;
  close(): Promise<void>;
}

const CLUSTER = "contract";
const A = 2 ** 32 + 7;
const B = 2 * 2 ** 32 + 9;
const FOREVER: CausalRetention = { keepMs: 1e12, keepEvents: 1e9 };

function event(origin: number, sequence: number, region: Region, dependencies: [number, number][] = [], more: object = {}): DeliveredEvent {
  const content = { type: "event_sequence", region, key: `${origin}/${sequence}`, payload: Buffer.from([0, 255, sequence % 256]), ...more };
  return { event: content, serverId: 5, id: { origin, sequence }, dependencies: { entries: dependencies.map(([of, at]) => ({ origin: of, sequence: at })) } };
}

/** `make` gives an empty database. */
export function causalContract(name: string, make: () => Promise<CausalStoreUnderTest>): void {
  describe(`causal events in ${name}`, () => {
    let sql: CausalStoreUnderTest;
    let groups = 0;
    let nowMs = 1_000_000;

    beforeAll(async () => {
      sql = await make();
    });

    afterAll(async () => {
      await sql.close();
    });

    /** A group that nobody used, with a region of its own. */
    function world(retention: CausalRetention = FOREVER) {
      const groupId = ++groups;
      const region = { x: groupId * 10, y: -1, z: 3 };
      const history = (process: 0 | 1 = 0) => new CausalHistory(sql.causal[process], () => nowMs, retention);
      const send = async (group: Partial<CausalGroupEvents>, process: 0 | 1 = 0): Promise<StoreCausalEventsResponse["groups"][number]> => {
        const { groups: answers } = await sql.settle(history(process).store({ clusterId: CLUSTER, groups: [{ groupId, term: 1, origins: [], events: [], ...group }] }));
        return answers[0] as StoreCausalEventsResponse["groups"][number];
      };
      const page = async (pageToken = "", pageSize = 1_000, of = region): Promise<ReadCausalHistoryResponse> => await sql.settle(history(1).read({ region: of, pageSize, pageToken }));
      const keys = async (of = region): Promise<string[]> => (await page("", 1_000, of)).events.map((each) => each.event?.event?.key ?? "");
      return { groupId, region, history, send, page, keys };
    }
    const through = (origin: number, afterSequence: number, throughSequence: number) => ({ origin, afterSequence, throughSequence });
    const run = (origin: number, from: number, to: number, region: Region) => Array.from({ length: to - from + 1 }, (_, at) => event(origin, from + at, region));

    it("gives back what it was given, byte by byte, in the order in which it came, with what it depends on", async () => {
      const { region, send, page } = world();
      const events = [event(A, 1, region), event(B, 3, region, [[A, 1]], { key: "odd\u0000'\"\\{},🐺", payload: Buffer.from([92, 34, 0]) }), event(A, 4, region, [[B, 3]], { type: "a_game's_own" })];
      expect(await send({ origins: [through(A, 0, 4), through(B, 0, 3)], events })).toMatchObject({ applied: true, term: 1 });
      const { events: found, trimmed, missingMax, nextPageToken } = await page();
      expect(found.map((each) => each.event)).toEqual(events);
      expect(found[0]?.storedAtMs).toBe(nowMs);
      expect([trimmed, missingMax, nextPageToken]).toEqual([false, 0, ""]);
    });

    it("takes each event once, however often it is sent, and of an origin only what follows", async () => {
      const { region, send, keys } = world();
      await send({ origins: [through(A, 0, 5)], events: run(A, 1, 5, region) });
      expect((await send({ origins: [through(A, 0, 5)], events: run(A, 1, 5, region) }, 1)).origins).toEqual([{ origin: A, sequence: 5 }]);
      await send({ origins: [through(A, 2, 8)], events: run(A, 3, 8, region) }, 1);
      expect(await keys()).toEqual(run(A, 1, 8, region).map((each) => each.event?.key));
    });

    it("takes a batch once where the answer to COMMIT was lost", async () => {
      for (const what of ["answer", "request"] as const) {
        const { region, send, keys } = world();
        sql.loseNextCommit(what);
        await send({ origins: [through(A, 0, 3)], events: run(A, 1, 3, region) });
        expect(await keys()).toHaveLength(3);
      }
    });

    it("keeps one order of leaders that write at once, in which no event comes before what it depends on", async () => {
      const { region, send, page } = world();
      // Both delivered A's and B's chain, which follow each other, in orders of their own, and bring what the other has brought already.
      const chain = Array.from({ length: 60 }, (_, at) => (at % 2 === 0 ? event(A, at / 2 + 1, region, at === 0 ? [] : [[B, at / 2]]) : event(B, (at + 1) / 2, region, [[A, (at + 1) / 2]])));
      const write = async (process: 0 | 1, size: number): Promise<void> => {
        for (let from = 0; from < chain.length; from += size) {
          const events = chain.slice(from, from + size);
          const last = (origin: number) => Math.max(0, ...events.filter(({ id }) => id?.origin === origin).map(({ id }) => id?.sequence ?? 0));
          const origins = [A, B].filter((origin) => last(origin) > 0).map((origin) => through(origin, 0, last(origin)));
          await send({ origins, events }, process);
        }
      };
      await Promise.all([write(0, 7), write(1, 5)]);
      const seen = new Set<string>();
      for (const { event: each } of (await page()).events) {
        for (const { origin, sequence } of each?.dependencies?.entries ?? []) expect(seen).toContain(`${origin}/${sequence}`);
        seen.add(`${each?.id?.origin}/${each?.id?.sequence}`);
      }
      expect(seen.size).toBe(60);
    });

    it("shuts out a leader once one of a later term has asked where it stands", async () => {
      const { region, send, keys } = world();
      await send({ term: 3, origins: [through(A, 0, 2)], events: run(A, 1, 2, region) });
      expect(await send({ term: 5, origins: [through(A, 0, 0), through(B, 0, 0)] })).toMatchObject({ applied: true, term: 5, origins: [{ origin: A, sequence: 2 }] });
      expect(await send({ term: 3, origins: [through(A, 2, 3)], events: run(A, 3, 3, region) })).toMatchObject({ applied: false, term: 5 });
      expect(await keys()).toHaveLength(2);
      expect(await send({ term: 5, origins: [through(A, 2, 3)], events: run(A, 3, 3, region) })).toMatchObject({ applied: true });
      expect(await keys()).toHaveLength(3);
    });

    it("pages through a region, each event once, and goes on later where a reader stopped", async () => {
      const { region, send, page } = world();
      const elsewhere = { ...region, x: region.x + 1 };
      await send({ origins: [through(A, 0, 30)], events: Array.from({ length: 30 }, (_, at) => event(A, at + 1, at % 3 === 0 ? elsewhere : region)) });
      const seen: number[] = [];
      let token = "";
      let last: ReadCausalHistoryResponse;
      do {
        last = await page(token, 4);
        expect(last.events.length).toBeLessThanOrEqual(4);
        seen.push(...last.events.map(({ event: each }) => each?.id?.sequence ?? 0));
        token = last.nextPageToken;
      } while (token !== "");
      expect(seen).toEqual(Array.from({ length: 30 }, (_, at) => at + 1).filter((sequence) => (sequence - 1) % 3 !== 0));
      expect(await page(last.resumeToken)).toMatchObject({ events: [], nextPageToken: "" });
      await send({ origins: [through(A, 30, 32)], events: run(A, 31, 32, region) });
      expect((await page(last.resumeToken)).events.map(({ event: each }) => each?.id?.sequence)).toEqual([31, 32]);
      const never = await page("", 10, { ...region, y: 77 });
      expect(never).toMatchObject({ events: [], nextPageToken: "", trimmed: false, missingMax: 0 });
      expect((await page(never.resumeToken, 10, { ...region, y: 77 })).events).toEqual([]);
    });

    it("says how many events never came, where they belong, and once", async () => {
      const { region, send, page } = world();
      await send({ origins: [through(A, 0, 2)], events: run(A, 1, 2, region) });
      const { resumeToken } = await page();
      // 3..10 are kept nowhere any more; of B nothing of this group came before, and the store is told so.
      await send({ origins: [through(A, 10, 12), through(B, 0, 400)], events: run(A, 11, 12, region) });
      await send({ origins: [through(B, 400, 401)], events: run(B, 401, 401, region) });
      const later = await page(resumeToken, 1);
      expect([later.events.map(({ event: each }) => each?.id?.sequence), later.missingMax]).toEqual([[11], 8]);
      expect((await page(later.nextPageToken)).missingMax).toBe(0);
      expect((await page()).missingMax).toBe(8);
    });

    it("keeps what is young and the newest, and tells a reader by name whose place is gone", async () => {
      const { groupId, region, history, send, page } = world({ keepMs: 10_000, keepEvents: 6 });
      const quiet = { ...region, x: region.x + 1 };
      const trim = async () => {
        while (await sql.settle(history().trim())) expect(groupId).toBeGreaterThan(0);
      };
      await send({ origins: [through(A, 0, 5)], events: [event(A, 1, quiet), ...run(A, 2, 5, region)] });
      const [before, quietBefore] = [(await page("", 2)).resumeToken, (await page("", 10, quiet)).resumeToken];
      await trim();
      expect((await page()).events).toHaveLength(4);
      await send({ origins: [through(A, 5, 9)], events: run(A, 6, 9, region) });
      await trim();
      expect((await page()).events.map(({ event: each }) => each?.id?.sequence)).toEqual([4, 5, 6, 7, 8, 9]);
      expect((await page()).trimmed).toBe(true);
      // It had read 2 and 3, and lost nothing.
      expect((await page(before)).events).toHaveLength(6);
      nowMs += 20_000;
      await send({ origins: [through(A, 9, 10)], events: run(A, 10, 10, region) });
      await trim();
      expect((await page()).events.map(({ event: each }) => each?.id?.sequence)).toEqual([10]);
      await expect(page(before)).rejects.toMatchObject({ reason: "HISTORY_TRIMMED", metadata: { region: `region_${region.x}_-1_3` } });
      // Where nothing came since, nothing is lost, though it is gone.
      expect(await page(quietBefore, 10, quiet)).toMatchObject({ events: [], trimmed: true });
    });

    it("refuses what is malformed by its field, and other clusters", async () => {
      const { groupId, region, history, page } = world();
      const refusal = async (group: Partial<CausalGroupEvents>, clusterId = CLUSTER): Promise<MeshError> =>
        await sql.settle(history().store({ clusterId, groups: [{ groupId, term: 1, origins: [through(A, 0, 5)], events: [], ...group }] })).then(() => new MeshError("INTERNAL", "taken"), MeshError.from);
      expect(await refusal({ events: run(A, 6, 6, region) })).toMatchObject({ field: "groups[0].events[0].id.sequence" });
      expect(await refusal({ events: [event(A, 2, region), event(A, 2, region)] })).toMatchObject({ field: "groups[0].events[1].id.sequence" });
      expect(await refusal({ events: run(B, 1, 1, region) })).toMatchObject({ field: "groups[0].events[0].id.origin" });
      expect(await refusal({ term: 0 })).toMatchObject({ field: "groups[0].term" });
      expect(await refusal({}, "another")).toMatchObject({ reason: "CLUSTER_MISMATCH" });
      const token = (await page()).resumeToken;
      for (const bad of ["bm8", `${token}x`, ""]) {
        if (bad !== "") await expect(page(bad)).rejects.toMatchObject({ reason: "INVALID_PAGE_TOKEN" });
      }
      await expect(page(token, 10, { ...region, z: 9 })).rejects.toMatchObject({ reason: "INVALID_PAGE_TOKEN" });
    });
  });
}
