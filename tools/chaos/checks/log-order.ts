/**
 * Checks that trust the log positions which the mesh tells: what was told earlier stands earlier in the log, and the log
 * explains every answer. Where the mesh lies about positions one of them fails; what it tells is checked without them, too.
 */
import type { History, HistoryCall, HistoryOperation } from "./history.ts";

interface Placed {
  readonly call: HistoryCall;
  readonly operation: HistoryOperation;
}

/** Operations in force or refused by decision, in the order of their log. */
function placed(history: History, group: number): Placed[] {
  return history.calls
    .filter((call) => call.group === group)
    .flatMap((call) => call.operations.filter((operation) => operation.accepted !== undefined).map((operation) => ({ call, operation })))
    .sort((a, b) => a.operation.index - b.operation.index);
}

function groupsOf(history: History): number[] {
  return [...new Set([...history.calls, ...history.reads].map(({ group }) => group))].sort((a, b) => a - b);
}

/** A call that began after another one was answered stands behind it in the log; a read stands at or behind it. */
export function realTimeOrder(history: History): string[] {
  return groupsOf(history).flatMap((group) => {
    const troubles: string[] = [];
    const calls = history.calls.filter((call) => call.group === group && call.operations.some(({ index }) => index > 0));
    const told = calls.filter((call) => call.returnedMs !== null).map((call) => ({ ms: call.returnedMs ?? 0, index: Math.max(...call.operations.map((each) => each.index)), what: call.operations[0]?.operationId ?? "" }));
    const answered = [...told, ...history.reads.filter((read) => read.group === group).map((read) => ({ ms: read.returnedMs, index: read.index, what: `a read at ${read.returnedMs.toFixed(0)} ms` }))].sort((a, b) => a.ms - b.ms);
    // The furthest position that anybody had been told of, by time.
    const furthest: { ms: number; index: number; what: string; write: boolean }[] = [];
    for (const each of answered) {
      const last = furthest.at(-1);
      if (last === undefined || each.index > last.index) furthest.push({ ...each, write: !each.what.startsWith("a read") });
    }
    const knownAt = (ms: number): (typeof furthest)[number] | undefined => {
      let low = 0;
      let high = furthest.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((furthest[middle]?.ms ?? 0) < ms) low = middle + 1;
        else high = middle;
      }
      return furthest[low - 1];
    };
    for (const call of calls) {
      const known = knownAt(call.invokedMs);
      const index = Math.min(...call.operations.map((each) => each.index));
      if (known !== undefined && index <= known.index) troubles.push(`group ${group}: ${call.operations[0]?.operationId} began at ${call.invokedMs.toFixed(0)} ms and stands at ${index}, but ${known.what} at ${known.index} was told before`);
    }
    for (const read of history.reads.filter((each) => each.group === group)) {
      const known = knownAt(read.invokedMs);
      if (known !== undefined && read.index < known.index) troubles.push(`group ${group}: a read from ${read.invokedMs.toFixed(0)} ms stands at ${read.index}, but ${known.what} at ${known.index} was told before`);
    }
    return troubles;
  });
}

/**
 * A read sees, of each register, the last write at or before its position, and nothing else. Of several writes in one log
 * entry the mesh does not tell the order, but all reads must see the same one.
 */
export function readsFollowLog(history: History): string[] {
  return groupsOf(history).flatMap((group) => {
    const troubles: string[] = [];
    const writes = new Map<string, { readonly index: number; readonly values: string[]; seen: string | undefined }[]>();
    for (const { operation } of placed(history, group)) {
      if (operation.action !== "write" || operation.accepted !== true) continue;
      const known = writes.get(operation.subject) ?? [];
      const last = known.at(-1);
      if (last?.index === operation.index) last.values.push(operation.value);
      else known.push({ index: operation.index, values: [operation.value], seen: undefined });
      writes.set(operation.subject, known);
    }
    for (const read of history.reads.filter((each) => each.group === group)) {
      for (const [register, value] of Object.entries(read.values)) {
        const entry = writes.get(register)?.findLast((each) => each.index <= read.index);
        const expected = entry === undefined ? [""] : entry.seen === undefined ? entry.values : [entry.seen];
        if (!expected.includes(value)) troubles.push(`group ${group}: a read of ${register} at ${read.index} (${read.invokedMs.toFixed(0)}..${read.returnedMs.toFixed(0)} ms) found "${value}" where the log has "${expected.join('" or "')}"`);
        else if (entry !== undefined) entry.seen = value;
      }
    }
    return troubles;
  });
}

/** A resource has one holder at a time, and only who holds it gives it up. */
export function oneHolder(history: History): string[] {
  const troubles: string[] = [];
  for (const group of groupsOf(history)) {
    const holders = new Map<string, string>();
    for (const { operation } of placed(history, group)) {
      const { subject, action, value, accepted } = operation;
      if (accepted !== true || (action !== "claim" && action !== "release")) continue;
      const holder = holders.get(subject);
      if (action === "claim" && holder !== undefined && holder !== value) troubles.push(`${subject} was given to ${value} at ${operation.index} while ${holder} held it`);
      if (action === "release" && holder !== value) troubles.push(`${subject} was given up by ${value} at ${operation.index} while ${holder ?? "nobody"} held it`);
      if (action === "claim") holders.set(subject, value);
      else holders.delete(subject);
    }
  }
  return troubles;
}

/** An item goes to one player, once, and only after it was there. */
export function onePickup(history: History): string[] {
  const troubles: string[] = [];
  const winners = new Map<string, HistoryOperation>();
  const spawned = new Map<string, HistoryOperation>();
  const all = history.calls.flatMap((call) => call.operations).filter((operation) => operation.accepted === true);
  for (const operation of all) if (operation.action === "spawn") spawned.set(operation.subject, operation);
  for (const operation of all) {
    if (operation.action !== "pickup") continue;
    const other = winners.get(operation.subject);
    if (other !== undefined) troubles.push(`${operation.subject} was picked up twice: ${other.operationId} at ${other.index}, ${operation.operationId} at ${operation.index}`);
    winners.set(operation.subject, operation);
    const from = spawned.get(operation.subject);
    if (from === undefined || from.index >= operation.index) troubles.push(`${operation.subject} was picked up at ${operation.index} before it was there`);
  }
  return troubles;
}

/** Epochs of a region only grow: by grants one after the other, and by the writes that the log took. */
export function epochsGrow(history: History): string[] {
  const troubles: string[] = [];
  const byRegion = Map.groupBy(history.grants, ({ region }) => region);
  for (const [region, grants] of byRegion) {
    const owners = new Map<number, number>();
    for (const { epoch, serverId } of grants) {
      const owner = owners.get(epoch);
      if (owner !== undefined && owner !== serverId) troubles.push(`${region}: epoch ${epoch} was granted to server ${owner} and to server ${serverId}`);
      owners.set(epoch, serverId);
    }
    for (const later of grants) {
      const before = grants.filter((earlier) => earlier.returnedMs < later.invokedMs);
      const highest = Math.max(0, ...before.map(({ epoch }) => epoch));
      // The same server may be told of its own lease once more.
      if (later.epoch < highest || (later.epoch === highest && before.some((earlier) => earlier.epoch === highest && earlier.serverId !== later.serverId))) {
        troubles.push(`${region}: epoch ${later.epoch} was granted after epoch ${highest}`);
      }
    }
    for (const group of groupsOf(history)) {
      let epoch = 0;
      for (const { operation } of placed(history, group)) {
        if (operation.region !== region || operation.accepted !== true) continue;
        if (operation.epoch < epoch) troubles.push(`${region}: ${operation.operationId} of epoch ${operation.epoch} is in force at ${operation.index}, behind one of epoch ${epoch}`);
        epoch = Math.max(epoch, operation.epoch);
      }
    }
  }
  return troubles;
}

/** A subscriber is shown every write of a register that comes after what it was shown before: in order, no gap, no repeat. */
export function subscribersFollowLog(history: History): string[] {
  const troubles: string[] = [];
  /** Values by version, in the order of versions. */
  const writes = new Map<string, Map<number, string[]>>();
  for (const { operation } of groupsOf(history).flatMap((group) => placed(history, group))) {
    if (operation.action !== "write" || operation.accepted !== true) continue;
    const versions = writes.get(operation.subject) ?? new Map<number, string[]>();
    versions.set(operation.version, [...(versions.get(operation.version) ?? []), operation.value]);
    writes.set(operation.subject, versions);
  }
  for (const [follower, all] of Map.groupBy(history.shown, (each) => each.follower)) {
    for (const [register, shown] of Map.groupBy(all, (each) => each.register)) {
      const versions = writes.get(register) ?? new Map<number, string[]>();
      const order = [...versions.keys()];
      const places = new Map(order.map((version, at) => [version, at]));
      const seen = new Set<string>();
      let before = 0;
      for (const { by, value, version } of shown) {
        if (versions.get(version)?.includes(value) !== true) troubles.push(`server ${follower} was shown "${value}" of ${register} at ${version}, which nobody wrote`);
        if (by === "snapshot") seen.clear();
        else if (version < before) troubles.push(`server ${follower} was shown ${register} at ${version} after ${before}`);
        else if (seen.has(`${version} ${value}`)) troubles.push(`server ${follower} was shown ${register} at ${version} twice`);
        else {
          const missed = order.slice((places.get(before) ?? -1) + 1, places.get(version) ?? 0);
          if (missed.length > 0) troubles.push(`server ${follower} was not shown ${register} at ${missed.join(", ")}, between ${before} and ${version}`);
        }
        seen.add(`${version} ${value}`);
        before = version;
      }
      const last = order.at(-1) ?? 0;
      if (before !== last) troubles.push(`server ${follower} was shown ${register} at ${before} last, and it stands at ${last}`);
    }
  }
  return troubles;
}
