/** Puts the arbiter's parts together and starts its server. */
import { randomUUID } from "node:crypto";
import { SystemClock } from "@statemesh/ports";
import { type Logger, Registry, type RunningServer, startServer } from "@statemesh/service";
import { Arbiter } from "./arbiter.ts";
import { ConflictFeed } from "./conflict-feed.ts";
import { bindArbiter } from "./methods.ts";
import { registerMetrics } from "./metrics.ts";
import { type ArbiterConfiguration, program } from "./options.ts";
import { readPolicy } from "./policy-source.ts";

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
  registerMetrics(registry, arbiter.statistics, feed);
  return startServer({ name: program.name, config, services: [bindArbiter(arbiter, feed)], log, registry, ownsProcess });
}
