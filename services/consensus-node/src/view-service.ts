// Views and splits over gRPC.
import { ViewServiceService } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { pictureOf, reportHeartbeat, watchView } from "@statemesh/node";
import { type ServiceBinding, bindService, serverStream, unary } from "@statemesh/service";
import { checkInteger } from "@statemesh/world";
import { ViewWatchers } from "./view-watchers.ts";

export function viewService(mesh: MeshNode): ServiceBinding {
  const watchers = new ViewWatchers({
    picture: () => pictureOf(mesh),
    message: (picture, serverId, before) => watchView(mesh, picture, serverId, before),
  });
  mesh.views.onChange = () => watchers.changed();
  return bindService(ViewServiceService, {
    reportHeartbeat: unary((request) => reportHeartbeat(mesh, request)),
    getView: unary(() => ({ state: mesh.views.state() })),
    watchView: serverStream(({ serverId }, responses, context) => {
      checkInteger(serverId, 0, 4_294_967_295, "", "server_id");
      watchers.watch(serverId, responses, context);
    }),
  });
}
