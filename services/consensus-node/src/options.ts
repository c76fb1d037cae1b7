import { address, type ConfigurationOf, OptionRuleError, defineProgram, flag, integer, parsed, serverOptions, splitAddress, text } from "@statemesh/service";

/** Peers by node id. */
export type PeerAddresses = ReadonlyMap<number, string>;

/** The data folder where none is given. */
export const DATA_DIR = ".data/consensus-node";

const PEER = /^([0-9]{1,7})=(.+)$/;

function parsePeers(value: string): PeerAddresses {
  const peers = new Map<number, string>();
  for (const part of value.split(",")) {
    const [, id, peer] = PEER.exec(part.trim()) ?? [];
    if (id === undefined || peer === undefined || Number(id) < 1 || Number(id) > 2_000_000 || splitAddress(peer) === undefined) {
      throw new OptionRuleError(`must be ID=host:port, separated by commas; "${part.trim().slice(0, 80)}" is not`);
    }
    if (peers.has(Number(id))) throw new OptionRuleError(`names node ${id} twice`);
    peers.set(Number(id), peer);
  }
  if (peers.size > 9) throw new OptionRuleError("must name at most 9 nodes");
  return peers;
}

/** Nodes that may take this one in; none: it waits until somebody names it to them. */
export type JoinAddresses = readonly string[];

const JOIN_WAIT = "wait";

function parseJoin(value: string): JoinAddresses {
  if (value.trim() === JOIN_WAIT) return [];
  return value.split(",").map((part) => {
    const each = part.trim();
    if (splitAddress(each) === undefined) throw new OptionRuleError(`must be host:port, separated by commas, or "${JOIN_WAIT}"; "${each.slice(0, 80)}" is neither`);
    return each;
  });
}

export const program = defineProgram({
  name: "consensus-node",
  summary: "Hosts replicas of Raft groups, the replicated state of the world, the authority directory, and eventual and causal replication.",
  version: "0.1.0",
  options: {
    ...serverOptions({ grpc: 7401, metrics: 7501 }),
    nodeId: integer({ min: 1, max: 2_000_000, doc: "Number of this node, unique in the cluster and the same for ever. Required of those who found the cluster, unless `--node-id-from-hostname` is set. A node that joins is given the next number unless it asks for one." }),
    nodeIdFromHostname: flag({ default: false, doc: "Take the node id from the ordinal at the end of the host name, plus one: `consensus-node-0` is node 1." }),
    clusterId: text({ default: "statemesh", maxLength: 64, pattern: /^[!-~]+$/, patternDoc: "ASCII without spaces", mustMatch: true, doc: "Name of the cluster. Nodes of other clusters are refused, and a region store refuses every cluster but the first that it heard of." }),
    peers: parsed({
      doc: "Every node that founds the cluster with the address that the others reach it at, this one included. Required unless the node joins. Members that came later are found by themselves; an address that is named here stands above the one on record.",
      mustMatch: true,
      kind: "peers",
      rule: "ID=host:port, separated by commas",
      placeholder: "1=host:port,2=host:port,...",
      parse: parsePeers,
      format: (peers: PeerAddresses) => [...peers].map(([id, peer]) => `${id}=${peer}`).join(","),
    }),
    join: parsed({
      doc: "For a node that is not among `--peers`: nodes of a running cluster, which are asked to take it in; or `wait`: until an operator adds it. Without effect once the node has its place, and on those who found the cluster.",
      kind: "addresses",
      rule: `host:port, separated by commas, or ${JOIN_WAIT}`,
      placeholder: "host:port,host:port,...",
      parse: parseJoin,
      format: (addresses: JoinAddresses) => (addresses.length === 0 ? JOIN_WAIT : addresses.join(",")),
    }),
    advertiseAddress: address({ doc: "Where clients reach this node; told to other nodes for redirects. Default: its address among the peers, else `--listen-address`. A node that joins is reached there by the other nodes too." }),
    dataDir: text({ default: DATA_DIR, doc: "Folder of the write-ahead log and the snapshots. One node a folder." }),
    groups: integer({ default: 4, min: 1, max: 1_000, mustMatch: true, doc: "Raft groups that hold regions, besides group 0, the directory. Fixed for the life of the cluster: sectors map to groups by it." }),
    arbiterAddress: text({ maxLength: 1_024, doc: "Where the conflict-arbiter answers, `host:port`; several, separated by commas, share the work. Without one the node decides by the same rules itself." }),
    arbiterTimeoutMs: integer({ default: 500, min: 1, max: 10_000, unit: "ms", doc: "How long a leader waits for an arbiter before it decides by itself, which is counted; less where the callers of all that it asks about give up sooner." }),
    regionStoreAddress: text({ maxLength: 1_024, doc: "Where the region-store answers, `host:port`. Without one nothing is materialised." }),
    regionStoreTimeoutMs: integer({ default: 10_000, min: 100, max: 120_000, unit: "ms", doc: "How long a batch for the region store may take." }),
    policyFile: text({ mustMatch: true, doc: "The policy table, YAML. Without one the built-in table holds." }),
    tickMs: integer({ default: 50, min: 5, max: 1_000, unit: "ms", doc: "The beat of elections, heartbeats, leases and repair of eventual values, and the longest time that an eventual value which is read on another node waits for others to go with it." }),
    heartbeatTicks: integer({ default: 2, min: 1, max: 100, unit: "ticks", doc: "How often a leader reminds its followers." }),
    electionTicks: integer({ default: 10, min: 2, max: 1_000, unit: "ticks", doc: "A follower's patience, at least; drawn anew between this and twice this." }),
    beatMs: integer({ default: 300, min: 50, max: 10_000, unit: "ms", mustMatch: true, doc: "How often nodes tell one another, and arbiters, whom they hear; what game servers are told to keep to as well." }),
    suspicionMs: integer({ default: 1_500, min: 200, max: 60_000, unit: "ms", mustMatch: true, doc: "Silence after which a node is suspected, at least: longer for one that is known to be irregular, and while this node itself runs late. At least three times `--beat-ms`." }),
    removalMs: integer({ default: 10_000, min: 1_000, max: 600_000, unit: "ms", mustMatch: true, doc: "Silence after which a node is removed from the view: it leads nothing until it is heard again. It stays a member. At least twice `--suspicion-ms`. Game servers are removed after `--registration-ttl-ms`." }),
    leaseReads: flag({ default: false, mustMatch: true, doc: "A leader whose last heartbeats were answered serves linearizable reads without asking the others again. Sound only while the nodes' clocks run alike to within a tick and a tenth of the election timeout. Needs `--election-ticks` above `--heartbeat-ticks` and that margin together. A node that starts then votes for nobody in its first election timeout." }),
    balanceTicks: integer({ default: 60, min: 0, max: 100_000, unit: "ticks", doc: "How often a node that leads at least two groups more than a peer hands it some. 0: never." }),
    leaseMs: integer({ default: 3_000, min: 500, max: 600_000, unit: "ms", mustMatch: true, doc: "How long a region lease runs unless it is renewed." }),
    registrationTtlMs: integer({ default: 10_000, min: 1_000, max: 3_600_000, unit: "ms", mustMatch: true, doc: "How long a game server stays registered unless it registers or renews again." }),
    shardSuspicionMs: integer({ default: 1_500, min: 100, max: 600_000, unit: "ms", doc: "How long a game server may say nothing before it takes over no region. Servers renew every 300 ms unless told otherwise." }),
    grantsWithoutStore: flag({ default: false, doc: "A server that acquires a region gets it although the region store does not stand at its epoch, for instance because SQL is down. What it loads from the store may then be written once more by the last owner." }),
    queueCapacity: integer({ default: 16_384, min: 64, max: 1_000_000, doc: "Operations that may wait for a decision in one group. Beyond it callers get OVERLOADED." }),
    queueTargetMs: integer({ default: 250, min: 5, max: 10_000, unit: "ms", doc: "How long operations may wait for their turn in a group's queue of decisions. A server whose operations wait longer for `--queue-interval-ms` is answered OVERLOADED, with the delay after which it is its turn, until they do not. Also how much longer than without load operations may take in all before a node takes fewer of them." }),
    queueIntervalMs: integer({ default: 500, min: 10, max: 60_000, unit: "ms", doc: "For how long operations may wait longer than `--queue-target-ms` before more are refused: a burst is none, and an arbiter that does not answer is no load." }),
    serverInFlight: integer({ default: 16_384, min: 1, max: 65_536, doc: "Strong operations of one game server that this node holds unanswered. Beyond it the server gets QUOTA_EXCEEDED." }),
    serverOperationsPerSecond: integer({ default: 0, min: 0, max: 10_000_000, doc: "Strong operations that one game server may bring to this node a second, and as many at once. 0: as many as there is room for." }),
    serverUpdatesPerSecond: integer({ default: 0, min: 0, max: 10_000_000, doc: "Eventual updates and events that one game server may publish on this node a second, and as many at once. 0: as many as there is room for." }),
    bulkCalls: integer({ default: 8, min: 1, max: 1_024, doc: "Bulk calls at work at a time: `Read` with more than 256 entities a page, eventual values or containers, `ReadSnapshot`, `ListContainers`, `ListEscrows`, `VerifyConservation`, heal reports. Each has its place until its answer is sent, `--bulk-wait-ms` at most where it is not read." }),
    bulkCallsWaiting: integer({ default: 64, min: 0, max: 65_536, doc: "Bulk calls that wait for a place, connections in turns. Beyond it callers get OVERLOADED with the delay after which there is one." }),
    bulkWaitMs: integer({ default: 2_000, min: 1, max: 60_000, unit: "ms", doc: "How long a bulk call waits for a place before it gets OVERLOADED." }),
    snapshotLogBytes: integer({ default: 67_108_864, min: 65_536, max: 1_099_511_627_776, unit: "bytes", doc: "Log of one group since its last snapshot that makes the next one due." }),
    trailingEntries: integer({ default: 4_096, min: 0, max: 10_000_000, doc: "Entries kept behind a snapshot for followers that are a little slow." }),
    trailingBytes: integer({ default: 33_554_432, min: 0, max: 1_099_511_627_776, unit: "bytes", doc: "Log of one group that its leader keeps beyond `--trailing-entries`, at most, for followers that are slower but alive. What they need beyond that comes as a snapshot." }),
    snapshotBytesPerSecond: integer({ default: 33_554_432, min: 65_536, max: 1_099_511_627_776, unit: "bytes", doc: "What all snapshots that this node sends may take together, each second." }),
    decisionWindow: integer({ default: 131_072, min: 1_024, max: 10_000_000, mustMatch: true, doc: "Decisions that one group keeps to answer retries: at least this many, at most twice as many." }),
    touchCapacity: integer({ default: 262_144, min: 1_024, max: 10_000_000, doc: "Changes that one group remembers for the region store; a store that is further behind gets a full copy." }),
    defaultDeadlineMs: integer({ default: 10_000, min: 100, max: 600_000, unit: "ms", doc: "Deadline of calls that bring none." }),
  },
});

export type NodeConfiguration = ConfigurationOf<typeof program.options>;
