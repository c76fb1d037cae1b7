// Views and splits over gRPC.
import { MeshError, type Side, ViewServiceService, type WatchViewResponse } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { reportHeartbeat, watchView } from "@statemesh/node";
import { type ResponseStream, type ServiceBinding, bindService, serverStream, unary } from "@statemesh/service";
import { checkInteger } from "@statemesh/world";

/** Streams of WatchView that may be open. */
const WATCHERS_MAX = 10_000;

interface Watcher {
  readonly serverId: number;
  readonly responses: ResponseStream<WatchViewResponse>;
  /** What it was told last; undefined: nothing yet. */
  side: Side | undefined;
  /** It waits for its reader: whatever changes meanwhile is told once. */
  isBehind: boolean;
}

export function viewService(mesh: MeshNode): ServiceBinding {
  const watchers = new Set<Watcher>();
  let due = false;
  const tell = (watcher: Watcher): void => {
    if (watcher.isBehind || watcher.responses.over) return;
    const message = watchView(mesh, watcher.serverId, watcher.side);
    watcher.side = message.state?.side;
    if (watcher.responses.write(message)) return;
    watcher.isBehind = true;
    watcher.responses.onWritable(() => {
      watcher.isBehind = false;
      tell(watcher);
    });
  };
  mesh.views.onChange = () => {
    if (due) return;
    due = true;
    setImmediate(() => {
      due = false;
      for (const watcher of watchers) tell(watcher);
    });
  };
  return bindService(ViewServiceService, {
    reportHeartbeat: unary((request) => reportHeartbeat(mesh, request)),
    getView: unary(() => ({ state: mesh.views.state() })),
    watchView: serverStream(({ serverId }, responses, context) => {
      checkInteger(serverId, 0, 4_294_967_295, "", "server_id");
      if (watchers.size >= WATCHERS_MAX) throw new MeshError("OVERLOADED", `${WATCHERS_MAX} streams watch already`, { retryDelayMs: 5_000 });
      const watcher: Watcher = { serverId, responses, side: undefined, isBehind: false };
      watchers.add(watcher);
      context.onEnd(() => watchers.delete(watcher));
      context.onShutdown(() => responses.fail(new MeshError("SHUTTING_DOWN", "the node is going down: watch another")));
      tell(watcher);
    }),
  });
}
