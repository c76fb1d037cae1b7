/** Puts the arbiter's parts together and starts its server. */
import { randomUUID } from "node:crypto";
import { SystemClock, SystemTimers } from "@statemesh/ports";
import { type Logger, Registry, type RunningServer, startServer } from "@statemesh/service";
import { Arbiter } from "./arbiter.ts";
import { ClusterWatch } from "./cluster-watch.ts";
import { ConflictFeed } from "./conflict-feed.ts";
import { bindArbiter, bindPartitions } from "./methods.ts";
import { registerMetrics } from "./metrics.ts";
import { type ArbiterConfiguration, program } from "./options.ts";
import { readPolicy } from "./policy-source.ts";

/** How often it is looked whether nodes still speak: the shortest heartbeat there is. */
const PARTITION_LOOK_MS = 50;

/**
 * Starts an arbiter.
 *
 * @param ownsProcess the process is the server's: signals stop it
 * @throws PolicyError where the policy file is wrong
 */
export async function serveArbiter(config: ArbiterConfiguration, log: Logger, ownsProcess: boolean): Promise<RunningServer> {
  const policy = await readPolicy(config.policyFile);
  const feed = new ConflictFeed(randomUUID().replaceAll("-", ""), { watchersMax: config.watchersMax, queueMax: config.watcherQueue });
  const arbiter = new Arbiter(policy, new SystemClock(), feed);
  const registry = new Registry();
  const clusters = new ClusterWatch(new SystemClock(), config.watchersMax);
  registerMetrics(registry, arbiter.statistics, feed, clusters);
  const cancel = new SystemTimers().every(PARTITION_LOOK_MS, () => clusters.tick());
  return startServer({ name: program.name, config, services: [bindArbiter(arbiter, feed), bindPartitions(clusters)], log, registry, ownsProcess, onShutdown: () => cancel() });
}
