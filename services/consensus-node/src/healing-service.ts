// Heal reports, and what became of operations that were kept during a partition.
import { HealingServiceService, type WatchTentativeResponse } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { getHealReport, listedGroups, listHealReports, reportGroup } from "@statemesh/node";
import { type CallContext, type ServiceBinding, bindService, serverStream } from "@statemesh/service";
import type { BulkCalls } from "./bulk-calls.ts";
import { deadlineOf } from "./deadlines.ts";
import { PulledStreams } from "./pulled-streams.ts";

/** Groups that are asked for their position at a time. */
const BARRIERS_AT_ONCE = 256;

export function healingService(mesh: MeshNode, bulk: BulkCalls, defaultDeadlineMs: number): ServiceBinding {
  const { watch } = mesh.cutOff.tentative;
  const watches = new PulledStreams<WatchTentativeResponse>({
    next: (id) => {
      const news = watch.next(id);
      return news === undefined ? undefined : { decisions: [...news.decisions], complete: news.complete };
    },
    close: (id) => watch.end(id),
  });
  const catchUp = async (groups: readonly number[], stale: boolean, context: CallContext): Promise<void> => {
    if (stale) return;
    const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
    for (let first = 0; first < groups.length; first += BARRIERS_AT_ONCE) {
      await Promise.all(
        groups.slice(first, first + BARRIERS_AT_ONCE).map(async (groupId) => {
          await new Promise<void>((resolve, reject) => {
            mesh.barrier(groupId, deadlineMs, (error) => (error === undefined ? resolve() : reject(error)));
          });
        }),
      );
    }
  };
  return bindService(HealingServiceService, {
    listHealReports: bulk.unary(async (request, context) => {
      await catchUp(listedGroups(mesh, request), request.stale, context);
      await bulk.nextTurn();
      return listHealReports(mesh, request);
    }),
    getHealReport: bulk.unary(async (request, context) => {
      await catchUp([reportGroup(mesh, request)], request.stale, context);
      await bulk.nextTurn();
      return getHealReport(mesh, request);
    }),
    watchTentative: serverStream((request, responses, context) => {
      const id: number = watch.open(request.serverId, request.operationIds, () => watches.note(id));
      watches.serve(id, responses, context);
    }),
  });
}
