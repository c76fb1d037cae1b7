// The region store, for what starts it: its program's options, and the store behind the calls.
export { regionStoreProgram, type RegionStoreConfiguration, type StoreSettings } from "./configuration.ts";
export { RegionStore, type StoreEvents } from "./region-store.ts";
export { bindRegionStore } from "./service-binding.ts";
