import type { ChangeRing, PlacedChange } from "./change-ring.ts";
import type { ResumePoint } from "./resume-token.ts";
import { setOfRegions } from "./scope.ts";
import type { Subscriber } from "./subscriber.ts";

/** Puts the reader's cursors where its token says. Returns the strong changes since that it wants; undefined where they are not all kept. */
export function missedSince(point: ResumePoint, subscriber: Subscriber, ringOf: (groupId: number) => ChangeRing): PlacedChange[] | undefined {
  const { wishes } = subscriber;
  const wanted = setOfRegions(subscriber.regions);
  const missed: PlacedChange[] = [];
  for (const groupId of subscriber.groups) {
    const cursor = point.cursors.find((candidate) => candidate.groupId === groupId);
    const changes = cursor === undefined ? undefined : ringOf(groupId).after(cursor.index, cursor.partial);
    if (cursor === undefined || changes === undefined) return undefined;
    subscriber.cursors.set(groupId, cursor);
    for (const change of changes) {
      const { entity } = change.change;
      if (entity?.region !== undefined && wanted.get(entity.region) === true && wishes.wantsKind(entity.kind)) missed.push(change);
    }
  }
  return missed;
}
