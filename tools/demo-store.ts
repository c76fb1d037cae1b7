/** The region store as shards use it: baked terrain is stored once, loaded when a player comes, patched now and then. */
import { credentials } from "@grpc/grpc-js";
import { type LoadRegionResponse, MeshError, meshErrorFromServiceError, type Region, RegionStoreServiceClient } from "@statemesh/contract";
import type { Measure } from "./demo-measure.ts";
import type { WorldRegion } from "./world-file.ts";

const CALL_LIMIT_MS = 10_000;

type Done<T> = (error: Parameters<typeof meshErrorFromServiceError>[0] | null, response: T) => void;

export class DemoStore {
  readonly client: RegionStoreServiceClient;
  readonly #measure: Measure;
  /** What failed, in words; at most a few. */
  readonly troubles: string[] = [];

  constructor(address: string, measure: Measure) {
    this.client = new RegionStoreServiceClient(address, credentials.createInsecure(), { "grpc.max_receive_message_length": 16 * 1024 * 1024 });
    this.#measure = measure;
  }

  /** Stores what the world file says of a region, under the epoch of its owner's lease. */
  async store(region: WorldRegion, epoch: number, requestId: string): Promise<void> {
    const data = new Uint8Array(region.terrainKib * 1024).map((_, at) => (at * 31) & 255);
    const layers = region.terrainKib === 0 ? [] : [{ name: "baked_terrain", data, contentType: "application/octet-stream" }];
    const attributes = new Map([...region.attributes, ["name", region.name]]);
    const request = { region: region.region, attributes, layers, epoch, requestId };
    await this.#call("StoreRegion", (done: Done<unknown>) => this.client.storeRegion(request, done));
  }

  /** Loads a region, as a shard does when a player walks in. */
  async load(region: Region, bypassCache = false): Promise<LoadRegionResponse> {
    const request = { region, regionText: "", withoutLayerData: false, withoutEntities: true, bypassCache };
    return await this.#call("LoadRegion", (done: Done<LoadRegionResponse>) => this.client.loadRegion(request, done));
  }

  /** Notes in the region's attributes that somebody came. */
  async patch(region: Region, attributes: ReadonlyMap<string, string>, epoch: number, requestId: string): Promise<void> {
    const request = { region, setAttributes: new Map(attributes), removeAttributes: [], setLayers: [], removeLayers: [], epoch, requestId };
    await this.#call("PatchRegion", (done: Done<unknown>) => this.client.patchRegion(request, done));
  }

  /** Runs a call beside the demo; what fails is counted and told at the end. */
  inBackground(call: Promise<unknown>): void {
    call.catch((error: unknown) => {
      this.#measure.storeFailures += 1;
      if (this.troubles.length < 5) this.troubles.push(MeshError.from(error).message);
    });
  }

  close(): void {
    this.client.close();
  }

  async #call<T>(method: string, start: (done: Done<T>) => { cancel(): void }): Promise<T> {
    const startedMs = performance.now();
    return await new Promise((done, failed) => {
      const call = start((error, response) => {
        clearTimeout(timer);
        this.#measure.storeLatencies(method).add(performance.now() - startedMs);
        if (error === null) done(response);
        else failed(meshErrorFromServiceError(error, { writes: method !== "LoadRegion" }));
      });
      const timer = setTimeout(() => call.cancel(), CALL_LIMIT_MS);
    });
  }
}
