import type { Disk } from "@statemesh/ports";
import { FrameWriter } from "./frame.ts";
import type { Replay } from "./recovery.ts";
import { entryBytes, updateBytes, writeUpdate } from "./records.ts";
import type { RecoveredGroup } from "./replayed-group.ts";
import { SEGMENT_HEADER_BYTES, segmentHeader, segmentName } from "./segment.ts";
import type { Segment } from "./segment.ts";

/** Damaged segments are kept under this prefix, for a person to look at, until the next damage is found. */
export const DAMAGED_PREFIX = "damaged-";
const UNFINISHED = "salvage.tmp";
/** A frame is closed when it has so many bytes. */
const FRAME_BYTES = 4 * 1024 * 1024;

/** The log anew: one segment, and by group the number of its last record. */
export interface Salvaged {
  readonly segment: Segment;
  readonly numbers: ReadonlyMap<number, number>;
}

/**
 * Writes what is left of a damaged log into a segment that the log begins with from now on. A crash in between leaves the old log. Damaged
 * segments are set aside, the others removed.
 */
export async function salvage(disk: Disk, { recovered, segments, damage }: Replay): Promise<Salvaged> {
  const sequence = segments.at(-1)!.sequence + 1;
  const segment: Segment = { sequence, name: segmentName(sequence), bytes: SEGMENT_HEADER_BYTES, lastIndex: new Map() };
  await disk.remove(UNFINISHED);
  const file = await disk.openAppend(UNFINISHED);
  const numbers = new Map<number, number>();
  try {
    await file.append([segmentHeader(sequence, sequence)]);
    const writer = new FrameWriter();
    const flush = async (): Promise<void> => {
      await file.append([writer.seal(sequence, segment.bytes)]);
      segment.bytes += writer.length;
      writer.reset();
    };
    for (const [groupId, group] of recovered) {
      let number = 0;
      for (const update of updatesOf(groupId, group)) {
        if (writer.length + updateBytes(update) > FRAME_BYTES) await flush();
        writeUpdate(writer.out, update, ++number);
      }
      numbers.set(groupId, number);
      const last = group.entries.at(-1);
      if (last !== undefined) segment.lastIndex.set(groupId, last.index);
    }
    await flush();
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(UNFINISHED, segment.name);
  await disk.syncDirectory();
  await setAside(disk, segments, new Set(damage.map((each) => each.file)));
  return { segment, numbers };
}

/** The group as updates of limited size; the first one says everything but entries too. */
function* updatesOf(groupId: number, { hardState, snapshot, entries, loss }: RecoveredGroup): Generator<Parameters<typeof writeUpdate>[1]> {
  const head = { groupId, hardState, snapshot, loss };
  let from = 0;
  let bytes = 0;
  for (const [at, entry] of entries.entries()) {
    bytes += entryBytes(entry);
    if (bytes <= FRAME_BYTES || at === from) continue;
    yield from === 0 ? { ...head, entries: entries.slice(0, at) } : { groupId, entries: entries.slice(from, at) };
    from = at;
    bytes = entryBytes(entry);
  }
  yield from === 0 ? { ...head, entries } : { groupId, entries: entries.slice(from) };
}

/** Earlier damage makes room for this: what is kept is bounded by the size of one log. */
async function setAside(disk: Disk, segments: readonly Segment[], damaged: ReadonlySet<string>): Promise<void> {
  for (const name of await disk.list()) if (name.startsWith(DAMAGED_PREFIX)) await disk.remove(name);
  for (const { name } of segments) {
    if (damaged.has(name)) await disk.rename(name, `${DAMAGED_PREFIX}${name}`);
    else await disk.remove(name);
  }
  await disk.syncDirectory();
}
