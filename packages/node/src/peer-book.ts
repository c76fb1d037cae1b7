// Who the other nodes are, and the ways to them. Members on record count; before there are any, those whom the operator named.
// A node whose copy of the record is old goes on with what it wrote down last, so that it can catch up at all.
import { MeshError } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import type { Founding } from "./founding.ts";
import type { KnownMember } from "./identity.ts";
import type { NodePorts, PeerTransport } from "./node-ports.ts";
import type { PeerLink } from "./peer-link.ts";

export interface PeerBookParts {
  readonly nodeId: number;
  readonly mesh: () => MeshNode;
  readonly founding: () => Founding;
  readonly ports: NodePorts;
  makeLink(peer: number, transport: PeerTransport): PeerLink;
}

export class PeerBook {
  readonly links = new Map<number, PeerLink>();
  readonly #parts: PeerBookParts;
  #isOpen = false;
  /** Who is let in: asked for on every frame. */
  #members: ReadonlySet<number> = new Set();
  /** Named ways that are closed for good. */
  readonly #spent = new Set<number>();

  constructor(parts: PeerBookParts) {
    this.#parts = parts;
  }

  /** The members, this node included where it is one; empty where none are on record. */
  known(): KnownMember[] {
    const { membership } = this.#parts.mesh();
    const later = this.#parts.founding().record.members.filter(({ nodeId }) => nodeId > membership.lastNodeId);
    return [...membership.members().map(({ nodeId, address, folderId }) => ({ nodeId, address, folderId })), ...later];
  }

  /** Why a node is not let in; undefined where it is a member. */
  refuses(nodeId: number): MeshError | undefined {
    if (this.#members.has(nodeId)) return undefined;
    const { mesh, nodeId: own } = this.#parts;
    if (nodeId <= mesh().membership.lastNodeId) return new MeshError("MEMBER_REMOVED", `node ${nodeId} was removed from the cluster: stop it; its data folder is of no use any more`, { metadata: { node_id: String(nodeId) } });
    return new MeshError("PEER_REFUSED", `node ${nodeId} is no peer of node ${own}, as far as it knows`);
  }

  /** Opens what is missing and closes what is not needed any more. */
  sync(): void {
    const wanted = this.#addresses();
    this.#members = new Set(wanted.keys());
    for (const [peer, link] of this.links) {
      const address = wanted.get(peer);
      if (address === link.transport.address) continue;
      this.links.delete(peer);
      this.#spent.add(peer);
      link.close();
      if (address === undefined) this.#parts.mesh().forget(peer);
      else this.#parts.mesh().peerDisconnected(peer);
    }
    const { ports } = this.#parts;
    for (const [peer, address] of wanted) {
      if (this.links.has(peer)) continue;
      const named = ports.peers.get(peer);
      const link = this.#parts.makeLink(peer, named?.address === address && !this.#spent.has(peer) ? named : ports.connect(address));
      this.links.set(peer, link);
      if (this.#isOpen) link.open();
    }
  }

  /** What the operator says about where a node is stands above the record: addresses may change while a node is down. */
  #addresses(): Map<number, string> {
    const { nodeId: own, ports } = this.#parts;
    const known = this.known();
    const all = known.length === 0 ? [...ports.peers].map(([nodeId, { address }]) => ({ nodeId, address })) : known;
    return new Map(all.filter(({ nodeId }) => nodeId !== own).map(({ nodeId, address }) => [nodeId, ports.peers.get(nodeId)?.address ?? address]));
  }

  open(): void {
    this.#isOpen = true;
    this.sync();
    for (const link of this.links.values()) link.open();
  }

  close(): void {
    this.#isOpen = false;
    for (const link of this.links.values()) link.close();
    for (const [peer, transport] of this.#parts.ports.peers) if (this.links.get(peer)?.transport !== transport) transport.close();
  }
}
