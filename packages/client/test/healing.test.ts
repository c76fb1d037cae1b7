import type { ServerWritableStream } from "@grpc/grpc-js";
import {
  type Decision, type GetHealReportRequest, HealedOperation, HealReport, type ListHealReportsRequest, MeshError, Outcome, type WatchTentativeRequest, type WatchTentativeResponse,
} from "@statemesh/contract";
import { afterEach, describe, expect, test } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { accepted, type Answers, FakeNode, serviceError, until } from "./fake-node.ts";

let nodes: FakeNode[] = [];
let client: MeshClient | undefined;

afterEach(() => {
  client?.close();
  for (const node of nodes) node.kill();
  nodes = [];
});

async function start(...answers: Answers[]): Promise<MeshClient> {
  nodes = await Promise.all(answers.map((each) => FakeNode.start(each)));
  client = connect({ endpoints: nodes.map(({ address }) => address), serverId: 7, name: "shard-7", backoffMaxMs: 20 });
  return client;
}

type WatchCall = ServerWritableStream<WatchTentativeRequest, WatchTentativeResponse>;

function tentative(operationId: string, reason = ""): Decision {
  return { ...accepted(operationId), outcome: Outcome.TENTATIVE, winnerOperationId: reason === "" ? operationId : "other", reason };
}

/** What a node says and then breaks off with. */
function says(decisions: readonly Decision[], reason?: "SHUTTING_DOWN" | "OVERLOADED" | "INVALID_FIELD"): (call: WatchCall) => void {
  return (call) => {
    call.write({ decisions: [...decisions], complete: true });
    if (reason !== undefined) call.emit("error", serviceError(reason === "INVALID_FIELD" ? MeshError.field("operation_ids", "must be at most 1,024") : new MeshError(reason, "the node says so")));
  };
}

describe("heal reports", () => {
  test("come page by page, all of them, of one group where it is asked for", async () => {
    const asked: (number | undefined)[] = [];
    const pages = [["heal-1-1-1", "heal-1-1-2"], ["heal-1-1-3"]];
    const mesh = await start({
      unary: {
        listHealReports: ({ groupId, pageToken, stale }: ListHealReportsRequest) => {
          asked.push(groupId);
          expect(stale).toBe(false);
          const at = Number(pageToken);
          return { reports: (pages[at] ?? []).map((reportId) => HealReport.fromPartial({ reportId })), nextPageToken: at + 1 < pages.length ? String(at + 1) : "" };
        },
      },
    });
    expect((await mesh.healing.reports(1)).map(({ reportId }) => reportId)).toEqual(["heal-1-1-1", "heal-1-1-2", "heal-1-1-3"]);
    expect(asked).toEqual([1, 1]);
    await mesh.healing.reports();
    expect(asked.slice(2)).toEqual([undefined, undefined]);
  });

  test("are read with their operations, from another node where the first has no quorum; one that is not kept any more is NOT_FOUND", async () => {
    const getHealReport = ({ reportId, pageToken }: GetHealReportRequest): unknown => {
      if (reportId !== "heal-1-1-1") throw new MeshError("NOT_FOUND", `no heal report ${reportId} is kept`);
      const operation = HealedOperation.fromPartial({ operationId: pageToken === "" ? "a" : "b", outcome: Outcome.REJECTED, reason: "CONFLICT" });
      return { report: HealReport.fromPartial({ reportId, rejected: 2 }), operations: [operation], nextPageToken: pageToken === "" ? "1" : "" };
    };
    const noQuorum = (): never => {
      throw new MeshError("NO_QUORUM", "nobody leads");
    };
    const mesh = await start({ unary: { getHealReport: noQuorum } }, { unary: { getHealReport } });
    const listed: string[] = [];
    for await (const { report, operations } of mesh.healing.report("heal-1-1-1")) listed.push(...operations.map((each) => `${report?.reportId} ${each.operationId} ${each.reason}`));
    expect(listed).toEqual(["heal-1-1-1 a CONFLICT", "heal-1-1-1 b CONFLICT"]);
    await expect(mesh.healing.report("heal-1-1-9").next()).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });
});

describe("the watch over kept operations", () => {
  test("asks for this server's, tells how each stands, every change, and what became of it", async () => {
    const asked: WatchTentativeRequest[] = [];
    const mesh = await start({
      watchTentative: (call) => {
        asked.push(call.request);
        call.write({ decisions: [tentative("a"), tentative("b")], complete: true });
        call.write({ decisions: [tentative("b", "CONFLICT")], complete: false });
        call.write({ decisions: [accepted("a")], complete: false });
      },
    });
    const told: string[] = [];
    for await (const { operationId, outcome, reason } of mesh.healing.watch(["a", "b"])) {
      told.push(`${operationId} ${outcome === Outcome.TENTATIVE ? "tentative" : "final"} ${reason}`.trim());
      if (told.length === 4) break;
    }
    expect(told).toEqual(["a tentative", "b tentative", "b tentative CONFLICT", "a final"]);
    expect(asked).toEqual([{ serverId: 7, operationIds: ["a", "b"] }]);
  });

  test("goes on where its node goes down, at another one and with the same ids, and hears there what became of them", async () => {
    const asked: string[] = [];
    const second = says([accepted("a")]);
    const mesh = await start(
      { watchTentative: says([tentative("a")], "SHUTTING_DOWN") },
      { watchTentative: (call) => {
        asked.push(call.request.operationIds.join());
        second(call);
      } },
    );
    const told: Outcome[] = [];
    for await (const { outcome } of mesh.healing.watch(["a"])) {
      told.push(outcome);
      if (outcome === Outcome.ACCEPTED) break;
    }
    expect(told).toEqual([Outcome.TENTATIVE, Outcome.ACCEPTED]);
    expect(asked).toEqual(["a"]);
  });

  test("stays with a node that has too many watchers for the moment: only that one keeps them", async () => {
    let calls = 0;
    let elsewhere = 0;
    const mesh = await start(
      { watchTentative: (call) => (calls++ === 0 ? says([], "OVERLOADED")(call) : says([tentative("a")])(call)) },
      { watchTentative: () => void elsewhere++ },
    );
    for await (const { operationId } of mesh.healing.watch()) {
      expect(operationId).toBe("a");
      break;
    }
    expect([calls, elsewhere]).toEqual([2, 0]);
  });

  test("ends with what asking again cannot mend, and by its signal; the node hears that it is over", async () => {
    const mesh = await start({ watchTentative: says([tentative("a")], "INVALID_FIELD") });
    const watch = mesh.healing.watch();
    expect((await watch.next()).value).toMatchObject({ operationId: "a" });
    await expect(watch.next()).rejects.toMatchObject({ reason: "INVALID_FIELD" });

    client?.close();
    let gone = false;
    const quiet = await start({
      watchTentative: (call) => {
        call.on("cancelled", () => (gone = true));
        says([tentative("a")])(call);
      },
    });
    const stop = new AbortController();
    let seen = 0;
    for await (const _ of quiet.healing.watch([], stop.signal)) {
      seen++;
      stop.abort();
    }
    expect(seen).toBe(1);
    await until(() => gone);
  });
});
