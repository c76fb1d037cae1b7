import type { FaultKind } from "../fault.ts";

/** Strong operations do not need it; it has to catch up. */
export const storeDown: FaultKind = {
  name: "store-down",
  about: "kill -9 of the region store",
  needs: [],
  seconds: [4, 10],
  create: ({ mesh }) => {
    const store = mesh.mesh.regionStore;
    if (store === undefined || !store.running) return undefined;
    return {
      what: "kill -9 of the region store",
      disturbed: [],
      inject: () => store.kill(),
      evidence: () => Promise.resolve(store.running ? undefined : "the process was gone"),
      heal: async () => {
        if (!store.running) store.launch();
        await Promise.resolve();
      },
    };
  },
};
