// Transfers between players' accounts: within a group and from group to group, between accounts that are all alike and between few that
// everybody wants.
import { randomUUID } from "node:crypto";
import { type Operation, Operation as Operations, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { type LoadResult, type LoadTarget, streamLoad } from "./bench-load.ts";

/** Accounts in each region. */
const ACCOUNTS = 1_000;
/** What each of them holds at first: more than a run can take. */
const FUNDS = 1_000_000_000;
const WINDOW = 512;
const BATCH = 64;

export interface TransferSetting {
  readonly name: string;
  /** 0: every account as often as every other. */
  readonly zipf: number;
  readonly across: boolean;
}

export const TRANSFER_SETTINGS: readonly TransferSetting[] = [
  { name: "within a group, uniform", zipf: 0, across: false },
  { name: "within a group, Zipf 1.5", zipf: 1.5, across: false },
  { name: "across groups, uniform", zipf: 0, across: true },
  { name: "across groups, Zipf 1.5", zipf: 1.5, across: true },
];

/** Mints what the accounts of all targets begin with, then measures each setting. */
export async function measureTransfers(targets: () => Promise<LoadTarget[]>, serverId: number, seconds: number, say: (result: LoadResult) => void): Promise<LoadResult[]> {
  const run = randomUUID().slice(0, 8);
  const first = await targets();
  const regions = first.flatMap((target) => target.regions);
  const mints = new Mints(run, serverId);
  await streamLoad(first, mints, WINDOW, BATCH, Number.POSITIVE_INFINITY);
  const results: LoadResult[] = [];
  for (const setting of TRANSFER_SETTINGS) {
    const result = await streamLoad(await targets(), new Transfers(run, serverId, regions, setting), WINDOW, BATCH, seconds);
    results.push({ ...result, name: `transfers ${setting.name}` });
    say({ ...result, name: `transfers ${setting.name}` });
  }
  return results;
}

function inventory(operationId: string, serverId: number, homeRegion: Region, fields: { action: PlayerInventory_Action; playerId: string; quantity: number; counterpartyId: string; counterpartyRegion: Region | undefined }): Operation {
  const operation = Operations.fromPartial({ operationId, serverId, homeRegion, type: "player_inventory" });
  operation.body = { $case: "playerInventory", value: { itemKind: "gold", itemId: "", position: undefined, containerId: "", counterpartyContainerId: "", ...fields } };
  return operation;
}

function accountOf(run: string, region: Region, n: number): string {
  return `${run}-${region.x}.${region.y}.${region.z}-${n}`;
}

/** One mint for each account, region by region; ends where all are done. */
class Mints {
  readonly #run: string;
  readonly #serverId: number;
  readonly #next = new Map<string, number>();

  constructor(run: string, serverId: number) {
    this.#run = run;
    this.#serverId = serverId;
  }

  next(regions: readonly Region[]): Operation | undefined {
    for (const region of regions) {
      const account = accountOf(this.#run, region, this.#next.get(accountOf(this.#run, region, 0)) ?? 0);
      const n = this.#next.get(accountOf(this.#run, region, 0)) ?? 0;
      if (n === ACCOUNTS) continue;
      this.#next.set(accountOf(this.#run, region, 0), n + 1);
      return inventory(`mint-${account}`, this.#serverId, region, { action: PlayerInventory_Action.MINT, playerId: account, quantity: FUNDS, counterpartyId: "", counterpartyRegion: undefined });
    }
    return undefined;
  }
}

class Transfers {
  readonly #run: string;
  readonly #serverId: number;
  readonly #regions: readonly Region[];
  readonly #setting: TransferSetting;
  /** Share of the accounts up to each, ascending. */
  readonly #shares: number[] = [];
  #next = 0;

  constructor(run: string, serverId: number, regions: readonly Region[], setting: TransferSetting) {
    this.#run = run;
    this.#serverId = serverId;
    this.#regions = regions;
    this.#setting = setting;
    let sum = 0;
    for (let n = 1; n <= ACCOUNTS; n++) this.#shares.push((sum += n ** -setting.zipf));
  }

  next(regions: readonly Region[]): Operation | undefined {
    const n = this.#next++;
    const home = regions[n % regions.length];
    if (home === undefined) throw new Error("bench: a target without regions");
    const others = this.#regions.filter((region) => region !== home && (region.x !== home.x || region.y !== home.y || region.z !== home.z));
    const there = this.#setting.across ? others[Math.floor(Math.random() * others.length)] : undefined;
    const from = this.#account();
    let to = this.#account();
    if (there === undefined && to === from) to = (to + 1) % ACCOUNTS;
    return inventory(`${this.#run}-${this.#setting.zipf}-${this.#setting.across ? "a" : "w"}-${n}`, this.#serverId, home, {
      action: PlayerInventory_Action.TRANSFER, playerId: accountOf(this.#run, home, from), quantity: 1, counterpartyId: accountOf(this.#run, there ?? home, to), counterpartyRegion: there,
    });
  }

  #account(): number {
    const at = Math.random() * (this.#shares.at(-1) ?? 1);
    let low = 0;
    let high = this.#shares.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#shares[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
