import { configurationOfProcess, createLogger, describeConfiguration, type Logger, Registry, secretsOf, startServer } from "@statemesh/service";
import { regionStoreProgram } from "./configuration.ts";
import { RegionStore, type StoreEvents } from "./region-store.ts";
import { bindRegionStore } from "./service-binding.ts";
import { registerStoreMetrics } from "./store-metrics.ts";

/** Redis that is away fails once a reconnect: one line a while says enough. */
const QUIET_MS = 5_000;

const config = configurationOfProcess(regionStoreProgram);
const log = createLogger({ service: regionStoreProgram.name, level: config.logLevel, secrets: secretsOf(regionStoreProgram, config) });
log.info({ configuration: describeConfiguration(regionStoreProgram, config) }, "starting");

const store = await RegionStore.open(config, Date.now, eventsTo(log));
const registry = new Registry();
registerStoreMetrics(registry, store);
try {
  await startServer({
    name: regionStoreProgram.name,
    config,
    services: [bindRegionStore(store)],
    log,
    registry,
    readiness: () => store.notReady(),
    onShutdown: () => store.close(),
  });
} catch (error) {
  log.fatal({ err: error }, "cannot start");
  process.exit(1);
}

function eventsTo(logger: Logger): StoreEvents {
  const saidMs = new Map<string, number>();
  return {
    databaseChanged: (up, cause) => {
      if (up) logger.info("SQL answers");
      else logger.error({ err: cause }, "SQL does not answer");
    },
    migrated: (steps) => logger.info({ steps }, "schema is up to date"),
    wrongSchema: (error) => {
      logger.fatal({ err: error }, "the schema is not one that this release can bring up to date");
      process.exitCode = 1;
      process.kill(process.pid, "SIGTERM");
    },
    passedOver: (what, error) => {
      const now = performance.now();
      if (now - (saidMs.get(what) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return;
      saidMs.set(what, now);
      logger.warn({ err: error, what }, "passed over a failure");
    },
  };
}
