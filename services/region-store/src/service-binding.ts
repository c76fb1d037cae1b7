import { RegionStoreServiceService } from "@statemesh/contract";
import { bindService, type ServiceBinding, unary } from "@statemesh/service";
import type { RegionStore } from "./region-store.ts";

/** RegionStoreService, answered by a store. */
export function bindRegionStore(store: RegionStore): ServiceBinding {
  return bindService(RegionStoreServiceService, {
    storeRegion: unary((request, context) => store.storeRegion(request, context)),
    loadRegion: unary((request, context) => store.loadRegion(request, context)),
    patchRegion: unary((request, context) => store.patchRegion(request, context)),
    deleteRegion: unary((request, context) => store.deleteRegion(request, context)),
    listRegions: unary((request, context) => store.listRegions(request, context)),
    queryRegions: unary((request, context) => store.queryRegions(request, context)),
    queryEntities: unary((request, context) => store.queryEntities(request, context)),
    transactRegions: unary((request, context) => store.transactRegions(request, context)),
    materialize: unary((request, context) => store.materialize(request, context)),
    getWatermarks: unary((request, context) => store.getWatermarks(request, context)),
    storeEventualValues: unary((request, context) => store.storeEventualValues(request, context)),
    loadEventualValues: unary((request, context) => store.loadEventualValues(request, context)),
    storeCausalEvents: unary((request, context) => store.storeCausalEvents(request, context)),
    readCausalHistory: unary((request, context) => store.readCausalHistory(request, context)),
    getCacheStatistics: unary(() => store.getCacheStatistics()),
  });
}
