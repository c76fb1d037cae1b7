// Histories of a store that keeps its promise: one true state, changed at one instant within each call. Some callers never hear.
import { type BalanceOperation, type Call, type EntityOperation, History, type KeyOperation, type LeaseOperation, type Operation, type RegisterOperation, type ResultOf, type Value } from "../src/index.ts";
import type { Random } from "./random.ts";

export interface ExecutionOptions {
  readonly models: readonly KeyOperation["model"][];
  readonly keys: number;
  readonly clients: number;
  readonly calls: number;
  /** Share of calls whose caller never hears; they take effect later, or never. */
  readonly open: number;
  /** Share of calls that surely do nothing. */
  readonly fail: number;
  /** Whether callers are told the log position. */
  readonly positions: boolean;
}

interface Row {
  value: Value;
  version: number;
  quantity: number;
  epoch: number;
  holder: number;
}

interface Running {
  readonly call: Call;
  state: "waits" | "done" | "lost";
  result: ResultOf<Operation> | undefined;
  position: number;
}

/** Values are told apart where `unique`, or are few so that they come again. */
export function execute(random: Random, options: ExecutionOptions): History {
  const history = new History();
  const rows = new Map<string, Row>();
  const running: (Running | undefined)[] = Array.from({ length: options.clients }, () => undefined);
  const lost: Running[] = [];
  let log = 0;
  let started = 0;
  let now = 0;
  const unique = random.chance(0.5);

  const take = (each: Running): void => {
    log++;
    const { operation } = each.call;
    each.result = apply(rows, operation as KeyOperation, log, random);
    each.position = log;
    each.state = "done";
  };

  while (started < options.calls || running.some((each) => each !== undefined)) {
    now += random.below(3);
    if (lost.length > 0 && random.chance(0.02)) {
      const [late] = lost.splice(random.below(lost.length), 1);
      if (late !== undefined) take(late);
    }
    const client = random.below(options.clients);
    const mine = running[client];
    if (mine === undefined) {
      if (started >= options.calls) continue;
      started++;
      const model = random.pick(options.models);
      const key = `k${random.below(options.keys)}`;
      const call = history.invoke(`c${client}`, now, operationOf(random, model, key, unique ? started : random.below(4), rows.get(`${model} ${key}`)));
      running[client] = { call, state: "waits", result: undefined, position: 0 };
    } else if (mine.state === "waits") {
      if (random.chance(options.fail)) {
        history.fail(mine.call, now);
        running[client] = undefined;
      } else if (random.chance(options.open)) {
        // Done or not, or later: the caller does not hear.
        if (random.chance(0.4)) take(mine);
        else lost.push(mine);
        if (random.chance(0.7)) history.open(mine.call, now);
        running[client] = undefined;
      } else take(mine);
    } else {
      if (mine.result !== undefined) history.ok(mine.call, now, mine.result, options.positions ? mine.position : undefined);
      running[client] = undefined;
    }
  }
  return history;
}

function operationOf(random: Random, model: KeyOperation["model"], key: string, value: number, row: Row | undefined): KeyOperation {
  switch (model) {
    case "register": {
      const kind = random.next();
      if (kind < 0.5) return { model, key, action: "read" } satisfies RegisterOperation;
      if (kind < 0.8) return { model, key, action: "write", value } satisfies RegisterOperation;
      return { model, key, action: "cas", from: random.chance(0.6) ? (row?.value ?? null) : value + 1, to: value } satisfies RegisterOperation;
    }
    case "entity": {
      const kind = random.next();
      if (kind < 0.4) return { model, key, action: "read" } satisfies EntityOperation;
      const when = random.pick(["always", "absent", "present", "ruled"] as const);
      return kind < 0.75 ? { model, key, action: "put", value: `v${value}`, when } : { model, key, action: "remove", when };
    }
    case "balance": {
      if (random.chance(0.4)) return { model, key, action: "read" } satisfies BalanceOperation;
      return { model, key, action: "post", delta: random.pick([-5, -3, -1, 1, 2, 3, 4]), when: random.chance(0.8) ? "enough" : "ruled" };
    }
    case "lease": {
      const serverId = 1 + random.below(3);
      const kind = random.next();
      if (kind < 0.25) return { model, key, action: "read" } satisfies LeaseOperation;
      if (kind < 0.5) return { model, key, action: "acquire", serverId };
      const epoch = random.chance(0.8) ? (row?.epoch ?? 0) : random.below(4);
      return { model, key, action: random.pick(["renew", "release", "write"] as const), serverId: random.chance(0.7) && row !== undefined && row.holder > 0 ? row.holder : serverId, epoch };
    }
  }
}

function apply(rows: Map<string, Row>, operation: KeyOperation, log: number, random: Random): ResultOf<Operation> {
  const name = `${operation.model} ${operation.key}`;
  const row = rows.get(name) ?? { value: null, version: 0, quantity: 0, epoch: 0, holder: 0 };
  rows.set(name, row);
  switch (operation.model) {
    case "register": {
      if (operation.action === "read") return { value: row.value };
      if (operation.action === "write") {
        row.value = operation.value;
        return {};
      }
      const swapped = row.value === operation.from;
      if (swapped) row.value = operation.to;
      return { swapped };
    }
    case "entity": {
      if (operation.action === "read") return row.value === null ? { value: null } : { value: row.value, version: row.version };
      const isThere = row.value !== null;
      const good = operation.when === "always" || (operation.when === "ruled" ? random.chance(0.5) : isThere === (operation.when === "present"));
      if (!good || (operation.action === "remove" && !isThere)) return { decision: "rejected" };
      row.value = operation.action === "put" ? operation.value : null;
      row.version = log;
      return { decision: "accepted", version: log };
    }
    case "balance": {
      if (operation.action === "read") return { quantity: row.quantity };
      if (row.quantity + operation.delta < 0 || (operation.when === "ruled" && random.chance(0.3))) return { decision: "rejected" };
      row.quantity += operation.delta;
      return { decision: "accepted" };
    }
    case "lease": {
      if (row.holder !== 0 && random.chance(0.1)) row.holder = 0;
      if (operation.action === "read") return { epoch: row.epoch, holder: row.holder };
      if (operation.action === "acquire") {
        if (row.holder !== 0 && row.holder !== operation.serverId) return { decision: "rejected", epoch: row.epoch, holder: row.holder };
        if (row.holder === 0) row.epoch++;
        row.holder = operation.serverId;
        return { decision: "accepted", epoch: row.epoch };
      }
      const own = row.holder === operation.serverId && row.epoch === operation.epoch;
      const unowned = operation.action === "write" && operation.epoch === 0 && row.holder === 0;
      if (own && operation.action === "release") row.holder = 0;
      return { decision: own || unowned ? "accepted" : "rejected" };
    }
  }
}
