import { MeshError } from "@statemesh/contract";
import { type OnError, writeError } from "./game-code.ts";

/** How a client reaches the mesh. */
export interface ClientOptions {
  /** Client addresses of consensus nodes, `host:port`, 1..64. Any one is enough; more let the client fail over. */
  readonly endpoints: readonly string[];
  /** Addresses of region stores, `host:port`, at most 64, for `client.store`. Default: none. */
  readonly storeEndpoints?: readonly string[];
  /** The game server's id, 1..4294967295. */
  readonly serverId: number;
  /** The game server's name, 1..64 bytes, unique among live servers. */
  readonly name: string;
  /** Where the server's players connect, `host:port`. Default: empty. */
  readonly address?: string;
  /** A number of this start of the server, 1..2^53-1. Default: made from the time and chance. */
  readonly incarnation?: number;
  /** How often registration and leases are renewed, ms; a lease is renewed three times in its length at least. Default 300. */
  readonly heartbeatMs?: number;
  /**
   * Regions that the directory may bring this server to by itself, as a backup or to share load; it has to `follow` the directory
   * for that. Default 0: it owns only what it acquires or is handed.
   */
  readonly maxRegions?: number;
  /** Longest time for a call with all its retries, ms. Default 10,000. */
  readonly deadlineMs?: number;
  /** Longest time for one attempt before another node is asked, ms. Default 2,000. */
  readonly attemptTimeoutMs?: number;
  /**
   * Retries that all calls and streams of the client share: so many can be saved up, and a quarter of it comes back a second. A call that
   * finds none left fails with what it has; an operation of a stream waits for one. Default 4,096.
   */
  readonly retryBudget?: number;
  /** First wait between two attempts, ms; doubles up to `backoffMaxMs`, with jitter. Default 20. */
  readonly backoffMinMs?: number;
  /** Longest wait between two attempts, ms. Default 500. */
  readonly backoffMaxMs?: number;
  /**
   * Of a hundred reads so many may be asked of a second node too, when the first has not answered in the time in which 95 of 100 reads
   * are; the first answer counts, and the other call is cancelled. 0..50; 0: never. Default 5.
   */
  readonly hedgePercent?: number;
  /**
   * Where operations and linearizable reads go first. `leader`: to the node that leads the region's group, once it is known (of `endpoints` only), so
   * that no other has to pass them on; `any`: to the node that the client is at. Default `leader`.
   */
  readonly routing?: "leader" | "any";
  /** Largest message either way, bytes. Default 16 MiB. */
  readonly messageBytesMax?: number;
  /**
   * Told of what the game's own callbacks throw or reject with: nothing of that stops renewals, streams or handoffs. Also told when a follower
   * ends that nobody waits for. Default: writes it to stderr.
   */
  readonly onError?: OnError;
}

/** Options with every default filled in. */
export type CompiledClientOptions = Required<ClientOptions>;

function checkNumber(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw MeshError.field(name, `must be a whole number in ${min}..${max}`);
}

/** A number that two starts of one server practically never share. */
function makeIncarnation(): number {
  return Date.now() * 1024 + Math.floor(Math.random() * 1024);
}

/**
 * Checks options and fills in defaults.
 *
 * @throws MeshError INVALID_FIELD, naming the option
 */
export function compileClientOptions(options: ClientOptions): CompiledClientOptions {
  if (typeof options !== "object" || options === null) throw MeshError.field("options", "must be an object with endpoints, serverId and name");
  for (const name of ["endpoints", "storeEndpoints"] as const) {
    const addresses: unknown = options[name];
    if (addresses !== undefined && !Array.isArray(addresses)) throw MeshError.field(name, 'must be a list, such as ["127.0.0.1:7401"]');
  }
  const compiled: CompiledClientOptions = {
    endpoints: [...new Set(options.endpoints)],
    storeEndpoints: [...new Set(options.storeEndpoints)],
    serverId: options.serverId,
    name: options.name,
    address: options.address ?? "",
    incarnation: options.incarnation ?? makeIncarnation(),
    heartbeatMs: options.heartbeatMs ?? 300,
    maxRegions: options.maxRegions ?? 0,
    deadlineMs: options.deadlineMs ?? 10_000,
    attemptTimeoutMs: options.attemptTimeoutMs ?? 2_000,
    retryBudget: options.retryBudget ?? 4_096,
    backoffMinMs: options.backoffMinMs ?? 20,
    backoffMaxMs: options.backoffMaxMs ?? 500,
    hedgePercent: options.hedgePercent ?? 5,
    routing: options.routing ?? "leader",
    messageBytesMax: options.messageBytesMax ?? 16 * 1024 * 1024,
    onError: options.onError ?? writeError,
  };
  // A name with a slip of the pen would be an option that does nothing.
  for (const name of Object.keys(options)) if (!Object.hasOwn(compiled, name)) throw MeshError.field(name, "is no option of connect");
  if (compiled.endpoints.length < 1 || compiled.endpoints.length > 64) throw MeshError.field("endpoints", "must name 1..64 nodes");
  if (compiled.storeEndpoints.length > 64) throw MeshError.field("storeEndpoints", "must name at most 64 region stores");
  for (const name of ["endpoints", "storeEndpoints"] as const) {
    for (const endpoint of compiled[name]) if (!/^[^\s/]+:\d{1,5}$/.test(endpoint)) throw MeshError.field(name, `must be host:port without a scheme, not ${JSON.stringify(endpoint)}`);
  }
  if (typeof compiled.name !== "string" || compiled.name === "") throw MeshError.field("name", "is required");
  checkNumber("serverId", compiled.serverId, 1, 4_294_967_295);
  checkNumber("incarnation", compiled.incarnation, 1, Number.MAX_SAFE_INTEGER);
  checkNumber("heartbeatMs", compiled.heartbeatMs, 50, 60_000);
  checkNumber("maxRegions", compiled.maxRegions, 0, 65_536);
  checkNumber("deadlineMs", compiled.deadlineMs, 1, 600_000);
  checkNumber("attemptTimeoutMs", compiled.attemptTimeoutMs, 1, 600_000);
  checkNumber("retryBudget", compiled.retryBudget, 0, 1_000_000);
  checkNumber("backoffMinMs", compiled.backoffMinMs, 1, 60_000);
  checkNumber("backoffMaxMs", compiled.backoffMaxMs, compiled.backoffMinMs, 60_000);
  checkNumber("hedgePercent", compiled.hedgePercent, 0, 50);
  if (typeof compiled.onError !== "function") throw MeshError.field("onError", "must be a function");
  if (compiled.routing !== "leader" && compiled.routing !== "any") throw MeshError.field("routing", "must be leader or any");
  checkNumber("messageBytesMax", compiled.messageBytesMax, 65_536, 256 * 1024 * 1024);
  return compiled;
}
