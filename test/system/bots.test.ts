import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BotWorld } from "../../tools/bots/bot-world.ts";
import { nodeProgram } from "../../tools/service-process.ts";
import { type Cluster, startCluster } from "./cluster.ts";

/** What of the summary is looked at. */
interface Summary {
  readonly ok: boolean;
  readonly counts: Readonly<Record<string, number>>;
  readonly acts: Readonly<Record<string, number>>;
  readonly handoff: { readonly count: number; readonly p99Ms: number };
  readonly publishToReceive: { readonly count: number; readonly p99Ms: number };
  readonly conservation: { readonly conserved: boolean; readonly notConserved: number; readonly items: readonly unknown[] };
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

/** ./dev bots with `args` and --json: its status, and what it printed. */
async function bots(args: readonly string[]): Promise<{ status: number | null; summary: Summary }> {
  const child = spawn(nodeProgram(), [join(import.meta.dirname, "../../tools/bots.ts"), ...args, "--json"], { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (printed += text));
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { status, summary: JSON.parse(printed) as Summary };
}

describe("./dev bots", () => {
  const spec = { seed: 11, players: 20, shards: 2, areaM: 40, walk: true };
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: 2 });
  });

  afterAll(async () => cluster.close());

  test("players walk over borders of a running mesh, are in one place each, and leave nothing standing", async () => {
    const args = ["--endpoints", cluster.mesh.endpoints.join(","), "--players", "20", "--shards", "2", "--walk", "--area", "40", "--acts", "1", "--seconds", "4", "--seed", "11"];
    const { status, summary } = await bots(args);
    expect(summary.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(summary.ok).toBe(true);
    expect(status).toBe(0);
    expect(summary.publishToReceive.count).toBeGreaterThan(0);
    expect(summary.counts["crossings"]).toBeGreaterThan(0);
    expect(summary.handoff.count).toBeGreaterThan(0);
    expect(summary.acts["structure_placement"]).toBeGreaterThan(0);
    expect(summary.acts["player_inventory"]).toBeGreaterThan(0);
    expect(summary.conservation).toMatchObject({ conserved: true, notConserved: 0 });
    expect(summary.conservation.items.length).toBeGreaterThan(0);

    const client = await cluster.server(1);
    for (const region of new BotWorld(spec).regions) {
      const { entities } = await client.read({ region });
      // Items that lie on the ground are the world's.
      expect(entities.filter(({ kind }) => kind !== "item")).toEqual([]);
    }
  });
});
