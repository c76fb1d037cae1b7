/** What `./dev up` keeps in its data folder between runs, besides the services' own data. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const FILE = "cluster.json";

const ClusterSchema = z.strictObject({
  /** Fixed for the life of the folder: logs and sectors are laid out for it. */
  nodes: z.int().min(1).max(9),
  groups: z.int().min(1).max(1_000),
  /** The cluster's own database: PostgreSQL's folder may outlive ours, and another cluster's rows must not be taken for its copy. */
  database: z.string().regex(/^statemesh_[0-9a-f]{12}$/),
  /** Runs so far. */
  runs: z.int().min(0),
  /** By shard id: shards of all runs are one server to the directory, because runs on one folder can't overlap. */
  incarnations: z.record(z.string(), z.int().min(1)),
});

type Cluster = z.infer<typeof ClusterSchema>;

/** The folder's cluster, for one run that holds the folder's lock. */
export class UpData {
  readonly #path: string;
  readonly #cluster: Cluster;

  private constructor(path: string, cluster: Cluster) {
    this.#path = path;
    this.#cluster = cluster;
  }

  /**
   * Opens the folder for another run.
   *
   * @throws Error where the folder was laid out for another number of nodes or groups, or its file is damaged
   */
  static open(folder: string, nodes: number, groups: number): UpData {
    const path = join(folder, FILE);
    const cluster = existsSync(path) ? read(path) : { nodes, groups, database: `statemesh_${randomBytes(6).toString("hex")}`, runs: 0, incarnations: {} };
    if (cluster.nodes !== nodes || cluster.groups !== groups) {
      throw new Error(`${folder} holds a cluster of ${cluster.nodes} nodes and ${cluster.groups} groups, not ${nodes} and ${groups}: take another --data-dir, or remove the folder`);
    }
    const data = new UpData(path, { ...cluster, runs: cluster.runs + 1 });
    data.#write();
    return data;
  }

  /** From 1. */
  get run(): number {
    return this.#cluster.runs;
  }

  /** Name of the cluster's database. */
  get database(): string {
    return this.#cluster.database;
  }

  /** The shard's incarnation, the same for every run on this folder. */
  incarnationOf(shardId: number): number {
    const key = String(shardId);
    const known = this.#cluster.incarnations[key];
    if (known !== undefined) return known;
    const made = Date.now() * 1024 + (shardId % 1024);
    this.#cluster.incarnations[key] = made;
    this.#write();
    return made;
  }

  #write(): void {
    writeFileSync(`${this.#path}.new`, `${JSON.stringify(this.#cluster, undefined, 2)}\n`);
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function read(path: string): Cluster {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`${path} is damaged; remove its folder to begin anew`, { cause: error });
  }
  const cluster = ClusterSchema.safeParse(content);
  if (!cluster.success) throw new Error(`${path} is damaged (${cluster.error.issues[0]?.message ?? "unknown"}); remove its folder to begin anew`);
  return cluster.data;
}
