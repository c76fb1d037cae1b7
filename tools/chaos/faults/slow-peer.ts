import { DelayProxy } from "../delay-proxy.ts";
import { type FaultKind, nameOf, networkOf } from "../fault.ts";

const DELAY_MS = 150;

/** A node in another continent: nothing is lost, everything it asks and is answered takes its time. */
export const slowPeer: FaultKind = {
  name: "slow-peer",
  about: `all connections that a node makes to the others go through a proxy with ${DELAY_MS} ms of delay either way`,
  needs: ["namespaces", "filter", "redirect", "sockets"],
  seconds: [5, 10],
  create: ({ mesh, calm, budget, leaders }) => {
    const [id] = calm;
    if (id === undefined || budget < 1) return undefined;
    const network = networkOf(mesh);
    const others = mesh.nodes.filter((node) => node.nodeId !== id);
    const proxies: DelayProxy[] = [];
    /** New connections go the new way; old ones are cut. */
    const cut = async (): Promise<void> => {
      for (const { nodeId } of others) await network.inside(id, ["ss", "-K", "-H", "-t", "dst", network.address(nodeId), "dport", "=", `:${portOf(mesh.node(nodeId).clientAddress)}`]);
    };
    return {
      what: `${nameOf(id, leaders)} reaches the others ${DELAY_MS} ms late`,
      disturbed: [id],
      inject: async () => {
        const rules: string[] = [];
        for (const { nodeId, clientAddress } of others) {
          const port = portOf(clientAddress);
          const proxy = await DelayProxy.start(network.gateway, { host: network.address(nodeId), port }, DELAY_MS);
          proxies.push(proxy);
          rules.push(`redirect ip daddr ${network.address(nodeId)} tcp dport ${port} counter dnat ip to ${network.gateway}:${proxy.port}`);
        }
        await network.filter(id, "slow-peer", rules);
        await cut();
      },
      evidence: () => {
        const passed = proxies.reduce((sum, proxy) => sum + proxy.passed, 0);
        return Promise.resolve(passed > 0 ? `${passed} pieces came late` : undefined);
      },
      heal: async () => {
        await network.filter(id, "slow-peer", []);
        for (const proxy of proxies) await proxy.close();
      },
    };
  },
};

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}
