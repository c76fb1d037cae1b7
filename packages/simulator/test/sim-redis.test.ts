import { SharedCache } from "@statemesh/store";
import { cacheContract, sharedCacheContract, type TestTime } from "../../store/test/cache-contract.ts";
import { SimClock, SimRedis, SimTimers, Simulation } from "../src/index.ts";

/** Seeds differ from run to run; a failure names its own. */
const SEED = Number(process.env["SIM_SEED"] ?? Date.now() % 1_000_000);

interface World {
  readonly redis: SimRedis;
  readonly time: TestTime;
  open(prefix: string, ttlMs: number, heard?: (keys: readonly string[]) => void): Promise<SharedCache>;
}

function simulated(): World {
  const simulation = new Simulation(SEED);
  const redis = new SimRedis(simulation);
  let names = 0;
  const time: TestTime = {
    settle: (work) => simulation.settle(work),
    async eventually(condition, what) {
      for (let step = 0; !(await condition()); step++) {
        if (step > 2_000) throw new Error(`never came: ${what}`);
        await simulation.runFor(10);
      }
    },
    nowMs: () => simulation.nowMs,
  };
  return {
    redis,
    time,
    async open(prefix, ttlMs, heard = () => undefined) {
      let subscribed = false;
      let before = false;
      const onSubscribed = (now: boolean): void => {
        subscribed = now;
        if (now && before) heard(["*"]);
        before ||= now;
      };
      const cache = new SharedCache({
        connect: (events) => redis.connect(events), clock: new SimClock(simulation), timers: new SimTimers(simulation), unique: () => `name-${++names}`,
        ttlMs, timeoutMs: 2_000, prefix, onInvalidated: heard, onSubscribed, onError: () => undefined,
      });
      await time.eventually(() => subscribed && cache.available, "a connection to Redis");
      return cache;
    },
  };
}

cacheContract(`a simulated Redis (seed ${SEED})`, async () => {
  const world = simulated();
  let caches = 0;
  return { time: world.time, make: (ttlMs = 60_000) => world.open(`contract-${++caches}:`, ttlMs), close: async () => undefined };
});

sharedCacheContract(`a simulated Redis (seed ${SEED})`, async () => {
  const world = simulated();
  return {
    time: world.time, replica: (prefix, heard) => world.open(prefix, 60_000, heard), pause: () => world.redis.pause(), resume: () => world.redis.resume(), close: async () => undefined,
  };
});
