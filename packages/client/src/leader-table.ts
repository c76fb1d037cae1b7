/** Which node leads the group of a sector, as far as was heard: calls that go there are not passed on by another. */
import { Metadata } from "@grpc/grpc-js";
import type { Region } from "@statemesh/contract";
import { formatRegion, sectorOf } from "@statemesh/world";
import type { NodeConnection, NodePool } from "./node-pool.ts";

/** Sectors that are remembered; beyond that the one that was asked for longest ago is forgotten. */
const SECTORS_MAX = 4_096;
/** What was heard is asked for again after this time, where it is still used, ms. */
const FRESH_MS = 10_000;
/** Questions under way. */
const ASKING_MAX = 4;
const ASK_TIMEOUT_MS = 2_000;

interface Entry {
  /** Undefined: none is known. */
  readonly address: string | undefined;
  /** When it was heard, or asked for. */
  readonly atMs: number;
}

/** Learns by `Route`, beside the calls and never before them. What it says is a hint: any node answers any call. */
export class LeaderTable {
  readonly #pool: NodePool;
  readonly #enabled: boolean;
  readonly #sectors = new Map<string, Entry>();
  #asking = 0;

  /** @param enabled false: knows nothing, ever */
  constructor(pool: NodePool, enabled: boolean) {
    this.#pool = pool;
    this.#enabled = enabled && pool.size > 1;
  }

  /** The node that leads the group of a region; undefined: not known, or none of the client's endpoints. Asks, where it has not of late. */
  nodeOf(region: Region): NodeConnection | undefined {
    if (!this.#enabled) return undefined;
    const sector = formatRegion(sectorOf(region));
    const entry = this.#sectors.get(sector);
    if (entry === undefined || performance.now() - entry.atMs > FRESH_MS) this.#ask(sector, region, entry?.address);
    return entry?.address === undefined ? undefined : this.#pool.at(entry.address);
  }

  /** A node failed, or says that it does not lead: what pointed at it is forgotten. */
  forget(address: string): void {
    for (const [sector, entry] of this.#sectors) if (entry.address === address) this.#sectors.delete(sector);
  }

  #ask(sector: string, region: Region, before: string | undefined): void {
    if (this.#asking >= ASKING_MAX) return;
    this.#asking += 1;
    this.#put(sector, before);
    const { authority } = this.#pool.current();
    authority.route({ place: { $case: "region", value: region }, assign: false }, new Metadata(), { deadline: Date.now() + ASK_TIMEOUT_MS }, (error, response) => {
      this.#asking -= 1;
      // Without an answer the calls go where they went; the next one asks again after a while.
      if (error === null) this.#put(sector, response.leaderAddress === "" ? undefined : response.leaderAddress);
    });
  }

  #put(sector: string, address: string | undefined): void {
    this.#sectors.delete(sector);
    this.#sectors.set(sector, { address, atMs: performance.now() });
    if (this.#sectors.size <= SECTORS_MAX) return;
    for (const oldest of this.#sectors.keys()) {
      this.#sectors.delete(oldest);
      break;
    }
  }
}
