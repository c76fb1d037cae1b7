import { connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { availabilityOf, terminalPlot } from "../../tools/chaos/availability.ts";
import { availabilitySvg } from "../../tools/chaos/availability-svg.ts";
import { DelayProxy } from "../../tools/chaos/delay-proxy.ts";
import type { Injected } from "../../tools/chaos/injector.ts";
import { LoadRecord } from "../../tools/chaos/load/told.ts";

function fault(kind: string, fromMs: number, toMs: number, outage = false): Injected {
  return { kind, what: `${kind} of node 1 <leader>`, fromMs, toMs, outage, evidence: "it was gone" };
}

function recordWith(...gaps: { group: number; fromMs: number; toMs: number }[]): LoadRecord {
  const record = new LoadRecord();
  record.gaps.push(...gaps);
  return record;
}

test("a silence while a majority is undisturbed is an anomaly only where it is a hang", () => {
  const faults = [fault("kill", 10_000, 14_000)];
  const short = availabilityOf(recordWith({ group: 1, fromMs: 10_000, toMs: 12_000 }), faults, 3);
  expect(short).toMatchObject({ anomalies: [], availability: { longestGapMs: 2_000, byFault: [{ kind: "kill", count: 1, bit: 1, longestGapMs: 2_000 }] } });
  const hang = availabilityOf(recordWith({ group: 2, fromMs: 10_000, toMs: 45_000 }), faults, 3);
  expect(hang.anomalies).toEqual([expect.stringContaining("group 2 acknowledged nothing for 35.0 s from 10.0 s")]);
});

test("a silence without a majority counts from its return, and for the fault that took it", () => {
  const faults = [fault("no-majority", 10_000, 60_000, true), fault("pause", 62_000, 66_000)];
  const { anomalies, availability } = availabilityOf(recordWith({ group: 1, fromMs: 10_000, toMs: 64_000 }), faults, 3);
  expect(anomalies).toEqual([]);
  expect(availability.longestGapMs).toBe(0);
  expect(availability.byFault.map(({ kind, longestGapMs }) => [kind, longestGapMs])).toEqual([["no-majority", 54_000], ["pause", 0]]);
  expect(availabilityOf(recordWith({ group: 1, fromMs: 10_000, toMs: 125_000 }), faults, 3).anomalies).toHaveLength(1);
});

test("the pictures show seconds and faults", () => {
  const faults = [fault("kill", 1_000, 3_000), fault("pause", 2_000, 4_000)];
  const availability = { perSecond: [10, 0, 5, 20], longestGapMs: 0, byFault: [] };
  const svg = availabilitySvg(availability, faults);
  expect(svg.match(/fill="#2a6fbb"/g)).toHaveLength(4);
  expect(svg).toContain("kill of node 1 &lt;leader&gt;");
  expect(terminalPlot(availability, faults)).toContain("pause of node 1 <leader>");
});

test("a proxy passes everything on, late, either way", async () => {
  const server = createServer((socket: Socket) => socket.on("data", (chunk) => socket.write(chunk)));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  const proxy = await DelayProxy.start("127.0.0.1", { host: "127.0.0.1", port: address.port }, 60);
  try {
    const startMs = performance.now();
    const answer = await new Promise<string>((done, failed) => {
      const socket = connect(proxy.port, "127.0.0.1", () => socket.write("hello"));
      socket.once("data", (chunk: Buffer) => {
        socket.destroy();
        done(chunk.toString());
      });
      socket.once("error", failed);
    });
    expect(answer).toBe("hello");
    expect(performance.now() - startMs).toBeGreaterThan(118);
    expect(proxy.passed).toBe(2);
  } finally {
    await proxy.close();
    server.close();
  }
});
