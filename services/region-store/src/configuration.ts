import { type ConfigurationOf, defineProgram, integer, OptionRuleError, parsed, serverOptions, text } from "@statemesh/service";

/** A URL whose scheme is one of `schemes`, as it was written. */
function urlRule(schemes: readonly string[]): (value: string) => string {
  return (value) => {
    if (!URL.canParse(value) || !schemes.includes(new URL(value).protocol)) throw new OptionRuleError(`must be a URL that begins with ${schemes.join("// or ")}//`);
    return value;
  };
}

/** The region store's program: each option is a flag and an environment variable. */
export const regionStoreProgram = defineProgram({
  name: "region-store",
  summary: "Durable, queryable store of regions and entities, in front of PostgreSQL or CockroachDB.",
  version: "0.1.0",
  options: {
    ...serverOptions({ grpc: 7441, metrics: 7541 }),
    databaseUrl: parsed({
      kind: "url",
      rule: "a URL that begins with postgresql:// or postgres://",
      placeholder: "url",
      parse: urlRule(["postgresql:", "postgres:"]),
      format: (value) => value,
      required: true,
      secret: true,
      doc: "PostgreSQL or CockroachDB, with the database's name; may hold user and password, so it is never logged.",
    }),
    databasePoolSize: integer({ default: 10, min: 1, max: 200, doc: "Most connections to SQL." }),
    databaseReservedConnections: integer({ default: 2, min: 0, max: 199, doc: "Connections that are kept free for what nodes hand over and read (`Materialize` and the like). One is always left for the rest." }),
    databaseBulkConnections: integer({ default: 3, min: 1, max: 200, doc: "Most connections that bulk reads hold: `ListRegions`, and queries with more than 100 on a page." }),
    databaseWaitingMax: integer({ default: 1_000, min: 1, max: 100_000, doc: "Most calls of each kind (what nodes need, queries and writes, bulk reads) that wait for a connection; further ones are answered OVERLOADED with a delay." }),
    databaseConnectTimeoutMs: integer({ default: 2_000, min: 50, max: 60_000, unit: "ms", doc: "How long a call waits for its turn before OVERLOADED, and then for SQL to let it connect before STORE_UNAVAILABLE." }),
    databaseStatementTimeoutMs: integer({ default: 5_000, min: 50, max: 600_000, unit: "ms", doc: "How long one statement may take." }),
    redisUrl: parsed({
      kind: "url",
      rule: "a URL that begins with redis:// or rediss://",
      placeholder: "url",
      parse: urlRule(["redis:", "rediss:"]),
      format: (value) => value,
      secret: true,
      doc: "Cache that replicas share, and how they tell each other what changed. Without it, run one replica or live with entries up to the TTL old.",
    }),
    redisTimeoutMs: integer({ default: 100, min: 5, max: 10_000, unit: "ms", doc: "How long one Redis command may take before it counts as a miss." }),
    redisPrefix: text({ default: "statemesh:", maxLength: 64, pattern: /^[A-Za-z0-9:_-]+$/, patternDoc: "letters, digits, `:`, `_`, `-`", mustMatch: true, doc: "Before every key and channel in Redis." }),
    cacheTtlMs: integer({ default: 300_000, min: 100, max: 86_400_000, unit: "ms", doc: "How long a cached region is believed at most." }),
    cacheBytes: integer({ default: 268_435_456, min: 1_048_576, max: 68_719_476_736, unit: "bytes", doc: "Most bytes of regions in this process's memory; least recently used ones go first." }),
    causalRetentionMs: integer({ default: 604_800_000, min: 1_000, max: 31_536_000_000, unit: "ms", doc: "How long causal events are kept for `ReadCausalHistory`." }),
    causalRetentionEvents: integer({ default: 1_000_000, min: 1_000, max: 1_000_000_000, doc: "Most causal events of one group that are kept, whatever their age." }),
    requestRetentionMs: integer({ default: 86_400_000, min: 1_000, max: 2_592_000_000, unit: "ms", doc: "How long the answer to a request id is kept for repeats." }),
  },
});

export type RegionStoreConfiguration = ConfigurationOf<(typeof regionStoreProgram)["options"]>;

/** The part of the configuration that the store itself uses; the rest is the server's. */
export type StoreSettings = Omit<RegionStoreConfiguration, keyof ReturnType<typeof serverOptions>>;
