/** Channels to the nodes of a mesh, and which of them is asked next. */
import { type ChannelOptions, credentials } from "@grpc/grpc-js";
import { AuthorityDirectoryServiceClient, ClusterAdminServiceClient, ConsistencyServiceClient, EscrowServiceClient, HealingServiceClient, MeshError, RegionStoreServiceClient, ViewServiceClient } from "@statemesh/contract";

/** One consensus node, or one region store: the services' stubs share a connection. */
export interface NodeConnection {
  readonly address: string;
  readonly consistency: ConsistencyServiceClient;
  readonly authority: AuthorityDirectoryServiceClient;
  readonly admin: ClusterAdminServiceClient;
  readonly views: ViewServiceClient;
  readonly healing: HealingServiceClient;
  readonly escrow: EscrowServiceClient;
  readonly store: RegionStoreServiceClient;
}

/** A dead peer that says nothing is noticed after `keepalive_time + keepalive_timeout`. */
function channelOptions(messageBytesMax: number): ChannelOptions {
  return {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.max_receive_message_length": messageBytesMax,
    // Retries are ours: they need to know which calls may be repeated.
    "grpc.enable_retries": 0,
    // A pool of its own: a client that is closed takes no connection from another.
    "grpc.use_local_subchannel_pool": 1,
  };
}

/** Opens channels on first use, and moves on when a node fails. */
export class NodePool {
  readonly #addresses: readonly string[];
  readonly #messageBytesMax: number;
  readonly #open = new Map<string, NodeConnection>();
  readonly #closing = new Set<() => void>();
  #at = 0;
  #closed = false;

  /** @param addresses at least one; the first is asked first */
  constructor(addresses: readonly string[], messageBytesMax: number) {
    this.#addresses = addresses;
    this.#messageBytesMax = messageBytesMax;
  }

  /** How many nodes there are to ask. */
  get size(): number {
    return this.#addresses.length;
  }

  /**
   * The node to ask now.
   *
   * @throws MeshError CANCELLED after `close`
   */
  current(): NodeConnection {
    if (this.#closed) throw new MeshError("CANCELLED", "the client is closed");
    return this.nth(this.#at);
  }

  /** The node that stands at a place of the list; beyond its end it begins anew. */
  nth(place: number): NodeConnection {
    const address = this.#addresses[place % this.#addresses.length];
    if (address === undefined) throw new Error("a pool of no nodes");
    return this.#open.get(address) ?? this.#connect(address);
  }

  /** The node of an address; undefined where it is not of the pool, or the pool is closed. */
  at(address: string): NodeConnection | undefined {
    if (this.#closed || !this.#addresses.includes(address)) return undefined;
    return this.#open.get(address) ?? this.#connect(address);
  }

  /** Another node than this one; undefined where there is none. */
  besides(node: NodeConnection): NodeConnection | undefined {
    if (this.#closed || this.#addresses.length < 2) return undefined;
    return this.nth(this.#addresses.indexOf(node.address) + 1);
  }

  /** The node failed: the next one's turn, unless another call has moved on already. */
  failed(node: NodeConnection): void {
    if (this.#addresses[this.#at] === node.address) this.#at = (this.#at + 1) % this.#addresses.length;
  }

  /** Asks a node first from now on; an address that is not of the pool changes nothing. */
  prefer(address: string): void {
    const at = this.#addresses.indexOf(address);
    if (at >= 0) this.#at = at;
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Calls `stop` when the pool is closed, before its channels are. Returns what takes that back. */
  whenClosed(stop: () => void): () => void {
    this.#closing.add(stop);
    return () => this.#closing.delete(stop);
  }

  /** Ends what is under way, then closes all channels. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stop of [...this.#closing]) stop();
    this.#closing.clear();
    for (const node of this.#open.values()) {
      node.consistency.close();
      node.authority.close();
      node.admin.close();
      node.views.close();
      node.healing.close();
      node.escrow.close();
      node.store.close();
    }
    this.#open.clear();
  }

  #connect(address: string): NodeConnection {
    const options = channelOptions(this.#messageBytesMax);
    const consistency = new ConsistencyServiceClient(address, credentials.createInsecure(), options);
    const channelOverride = consistency.getChannel();
    const node: NodeConnection = {
      address,
      consistency,
      authority: new AuthorityDirectoryServiceClient(address, credentials.createInsecure(), { channelOverride }),
      admin: new ClusterAdminServiceClient(address, credentials.createInsecure(), { channelOverride }),
      views: new ViewServiceClient(address, credentials.createInsecure(), { channelOverride }),
      healing: new HealingServiceClient(address, credentials.createInsecure(), { channelOverride }),
      escrow: new EscrowServiceClient(address, credentials.createInsecure(), { channelOverride }),
      store: new RegionStoreServiceClient(address, credentials.createInsecure(), { channelOverride }),
    };
    this.#open.set(address, node);
    return node;
  }
}
