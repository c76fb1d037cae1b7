// The directory of game servers and region leases.
import { AuthorityDirectoryServiceService } from "@statemesh/contract";
import { abortHandoff, acceptHandoff, type AuthorityNode, acquire, assignRegions, balance, commitHandoff, listHotRegions, register, release, renew, route, transfer, unregister } from "@statemesh/node";
import { type CallContext, type ServiceBinding, bindService, serverStream, unary } from "@statemesh/service";
import { deadlineOf } from "./deadlines.ts";
import { PulledStreams } from "./pulled-streams.ts";

export function authorityService(node: AuthorityNode, defaultDeadlineMs: number): ServiceBinding {
  const deadline = (context: CallContext): number => deadlineOf(context, node.mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  const watches = new PulledStreams({ next: (id: number) => node.mesh.authority.watch.next(id), close: (id) => node.mesh.authority.watch.close(id) });
  node.mesh.onWatchReadable = (watchId) => watches.note(watchId);
  return bindService(AuthorityDirectoryServiceService, {
    register: unary((request, context) => register(node, request, deadline(context))),
    unregister: unary((request, context) => unregister(node, request, deadline(context))),
    route: unary((request, context) => route(node, request, deadline(context))),
    acquire: unary((request, context) => acquire(node, request, deadline(context))),
    renew: unary((request, context) => renew(node, request, deadline(context))),
    release: unary((request, context) => release(node, request, deadline(context))),
    transfer: unary((request, context) => transfer(node, request, deadline(context))),
    acceptHandoff: unary((request, context) => acceptHandoff(node, request, deadline(context))),
    commitHandoff: unary((request, context) => commitHandoff(node, request, deadline(context))),
    abortHandoff: unary((request, context) => abortHandoff(node, request, deadline(context))),
    assignRegions: unary((request, context) => assignRegions(node, request, deadline(context))),
    balance: unary((request, context) => balance(node, request, deadline(context))),
    listHotRegions: unary((request) => listHotRegions(node, request)),
    watch: serverStream((request, responses, context) => watches.serve(node.mesh.authority.watch.open(request), responses, context)),
  });
}
