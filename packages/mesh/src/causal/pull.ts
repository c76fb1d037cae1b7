import type { CausalRange } from "@statemesh/contract";
import type { CausalPeer } from "./causal-peer.ts";
import type { CausalDelivery } from "./delivery.ts";
import type { CausalLimits } from "./limits.ts";
import type { OriginLog } from "./origin-log.ts";
import { nodeOfOrigin } from "./origin.ts";

/** Ranges asked for of one origin at a time. */
const RANGES_AT_ONCE = 16;

/**
 * What to ask of which peer: missing events, of a peer that has them, one peer after the other. Gives up what nobody
 * has any more:
 *  - a peer within reach kept them no longer, and none within reach has them: at once, up to where kept events begin;
 *  - nobody within reach ever had them, and their node has started anew, or the log removed it: after `lostAfterMs`;
 *  - the same, and their node is away: after `awayAfterMs`, because it may come back with them.
 */
export function pullMissing(
  delivery: CausalDelivery,
  own: OriginLog,
  peers: ReadonlyMap<number, CausalPeer>,
  nowMs: number,
  limits: CausalLimits,
): Map<number, CausalRange[]> {
  const wanted = new Map<number, CausalRange[]>();
  for (const log of delivery.origins.values()) {
    if (log === own || log.received.prefix >= log.known) {
      log.missingSinceMs = 0;
      continue;
    }
    const first = log.received.prefix + 1;
    if (log.missingSinceMs === 0 || log.missingFrom !== first) {
      // While it makes progress there is no need to wait again before the next request.
      if (log.missingSinceMs === 0) log.askedMs = nowMs - limits.pullRetryMs + limits.pullAfterMs;
      else log.askedMs = Math.min(log.askedMs, nowMs - limits.pullRetryMs);
      log.missingSinceMs = nowMs;
      log.missingFrom = first;
    }
    const holders: number[] = [];
    for (const [id, peer] of peers) if (peer.holds(log.origin, first)) holders.push(id);
    if (holders.length === 0) {
      const through = givenUpThrough(delivery, log, first, peers, nowMs, limits);
      if (through >= first) delivery.giveUp(log, through);
      continue;
    }
    if (nowMs - log.askedMs < limits.pullRetryMs) continue;
    log.askedMs = nowMs;
    log.turn += 1;
    const to = holders[log.turn % holders.length] as number;
    const ranges = wanted.get(to) ?? [];
    wanted.set(to, ranges);
    let left = limits.maxEventsPerTick;
    for (const range of log.received.missing(Math.min(log.known, first + limits.window - 1), RANGES_AT_ONCE)) {
      if (left <= 0 || ranges.length >= limits.maxRanges) break;
      const last = Math.min(range.last, range.first + left - 1);
      ranges.push({ origin: log.origin, firstSequence: range.first, lastSequence: last });
      left -= last - range.first + 1;
    }
  }
  return wanted;
}

/** How far the missing events from `first` on are given up; below `first`: not yet. */
function givenUpThrough(
  delivery: CausalDelivery,
  log: OriginLog,
  first: number,
  peers: ReadonlyMap<number, CausalPeer>,
  nowMs: number,
  limits: CausalLimits,
): number {
  let keptFrom = 0;
  for (const peer of peers.values()) {
    if (!peer.heard) return 0;
    const begins = peer.keptFrom.get(log.origin) ?? 0;
    if (begins > first && (keptFrom === 0 || begins < keptFrom)) keptFrom = begins;
  }
  const gap = log.received.missing(log.known, 1)[0];
  if (gap === undefined) return 0;
  if (keptFrom > 0) return Math.min(keptFrom - 1, gap.last);
  const missingMs = nowMs - log.missingSinceMs;
  if (delivery.isOver(log.origin)) return missingMs >= limits.lostAfterMs ? gap.last : 0;
  if (peers.has(nodeOfOrigin(log.origin))) return 0;
  return missingMs >= limits.awayAfterMs ? gap.last : 0;
}
