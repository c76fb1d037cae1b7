// What happens to the region store, to its database, and to the Redis between region stores.
import { CALM_SQL, type SqlWeather } from "../store/sim-sql.ts";
import type { PlainRecord } from "../tier.ts";
import type { MeshWorld } from "./mesh-world.ts";

/** What a database does under each kind of fault; probabilities of one statement each. */
const SQL_WEATHER: Readonly<Record<string, Partial<SqlWeather>>> = {
  "store slow": { minDelayMs: 50, maxDelayMs: 400, slowness: 0.02 },
  "store aborts": { serialization: 0.3 },
  "store refuses": { refusal: 0.5 },
  "store commits unheard": { unknownCommit: 0.4 },
};

/** `later` takes something back after the fault's time. False: no such fault, or nothing to hit. */
export function injectStoreFault({ store, regionStores }: Pick<MeshWorld, "store" | "regionStores">, kind: string, args: PlainRecord, later: (run: () => void) => void): boolean {
  if (store === undefined) return false;
  const weather = SQL_WEATHER[kind];
  if (weather !== undefined) {
    Object.assign(store.sql.weather, weather);
    later(() => Object.assign(store.sql.weather, CALM_SQL));
    return true;
  }
  switch (kind) {
    case "store killed":
      store.process.crash();
      regionStores?.ended();
      later(() => store.process.start());
      return true;
    case "store cut off":
      store.weather.cut = true;
      later(() => {
        store.weather.cut = false;
      });
      return true;
    case "store unheard":
      store.weather.loss = Number(args["loss"]);
      later(() => {
        store.weather.loss = 0;
      });
      return true;
    case "failover of the database":
      store.sql.failover(Number(args["ms"]));
      return true;
    default:
      return regionStores?.inject(kind, args, later) === true;
  }
}
