import type { Tier } from "./tier.ts";

export * from "./shrink.ts";
export type * from "./tier.ts";

const LOADERS: Readonly<Record<string, () => Promise<Tier>>> = {
  cache: async () => (await import("./store/cache-tier.ts")).cacheTier,
  raft: async () => (await import("./raft/raft-tier.ts")).raftTier,
  mesh: async () => (await import("./mesh/mesh-tier.ts")).meshTier,
};

/** A tier by its name, and nothing of the others: a process that looks for a planted bug starts in a fraction of the time. */
export async function loadTier(name: string): Promise<Tier> {
  const load = LOADERS[name];
  if (load === undefined) throw new Error(`no tier is called ${name}`);
  return load();
}
