import { ATTRIBUTES_MAX, LAYERS_MAX, REGION_LAYER_BYTES_MAX } from "@statemesh/store";
import { type DeleteRegionRequest, MeshError, type PatchRegionRequest, type Region, type RegionLayer, type StoreRegionRequest } from "@statemesh/contract";
import { formatRegion, mortonKey } from "@statemesh/world";

/** A row of `regions`, without its key. */
export interface RegionRow {
  readonly version: number;
  readonly stored: boolean;
  readonly epoch: number;
  readonly fenceEpoch: number;
  readonly ownerServerId: number;
  readonly attributes: ReadonlyMap<string, string>;
}

/** What a region that has no row is like. */
export const NO_ROW: RegionRow = { version: 0, stored: false, epoch: 0, fenceEpoch: 0, ownerServerId: 0, attributes: new Map() };

/**
 * One region inside a transaction: what SQL holds, and what the writes so far make of it. Several writes to one
 * region see each other. Each method checks epoch and version, and throws MeshError before it changes anything.
 */
export class RegionState {
  readonly region: Region;
  readonly key: bigint;
  /** As read; the write to SQL is refused by the row itself where it is no longer so. */
  readonly read: RegionRow;
  /** Sizes by name of the layers in SQL; patches need them. */
  readonly #layerBytes: Map<string, number>;
  #version: number;
  #stored: boolean;
  #fenceEpoch: number;
  #attributes: Map<string, string>;
  #replacesLayers = false;
  readonly #setLayers = new Map<string, RegionLayer>();
  readonly #removedLayers = new Set<string>();

  constructor(region: Region, read: RegionRow, layerBytes: Map<string, number>) {
    this.region = region;
    this.key = mortonKey(region);
    this.read = read;
    this.#layerBytes = layerBytes;
    this.#version = read.version;
    this.#stored = read.stored;
    this.#fenceEpoch = read.fenceEpoch;
    this.#attributes = new Map(read.attributes);
  }

  get version(): number {
    return this.#version;
  }

  get stored(): boolean {
    return this.#stored;
  }

  /** The epoch that the last write carried: it is the highest, or the write would have been refused. */
  get fenceEpoch(): number {
    return this.#fenceEpoch;
  }

  get attributes(): ReadonlyMap<string, string> {
    return this.#attributes;
  }

  get changed(): boolean {
    return this.#version !== this.read.version;
  }

  /** What is to be done with the layers in SQL. */
  get layers(): { readonly replacesAll: boolean; readonly set: readonly RegionLayer[]; readonly removed: readonly string[] } {
    return { replacesAll: this.#replacesLayers, set: [...this.#setLayers.values()], removed: [...this.#removedLayers] };
  }

  store(request: StoreRegionRequest): void {
    this.#admit(request);
    this.#attributes = new Map(request.attributes);
    this.#dropLayers();
    for (const layer of request.layers) this.#setLayer(layer);
    this.#written(request.epoch, true);
  }

  patch(request: PatchRegionRequest, path: string): void {
    this.#admit(request);
    if (!this.#stored) throw new MeshError("NOT_FOUND", `${formatRegion(this.region)} was never stored: store it first`, { metadata: { region: formatRegion(this.region) } });
    const attributes = new Map(this.#attributes);
    for (const name of request.removeAttributes) attributes.delete(name);
    for (const [name, value] of request.setAttributes) attributes.set(name, value);
    if (attributes.size > ATTRIBUTES_MAX) throw MeshError.field(`${path}set_attributes`, `the region would have ${attributes.size} attributes, at most ${ATTRIBUTES_MAX}`);
    const sizes = new Map(this.#layerBytes);
    for (const name of request.removeLayers) sizes.delete(name);
    for (const layer of request.setLayers) sizes.set(layer.name, layer.data.length);
    if (sizes.size > LAYERS_MAX) throw MeshError.field(`${path}set_layers`, `the region would have ${sizes.size} layers, at most ${LAYERS_MAX}`);
    let bytes = 0;
    for (const size of sizes.values()) bytes += size;
    if (bytes > REGION_LAYER_BYTES_MAX) throw MeshError.field(`${path}set_layers`, `the region would hold ${bytes} bytes of layers, at most ${REGION_LAYER_BYTES_MAX}`);

    this.#attributes = attributes;
    for (const name of request.removeLayers) {
      this.#setLayers.delete(name);
      this.#removedLayers.add(name);
      this.#layerBytes.delete(name);
    }
    for (const layer of request.setLayers) this.#setLayer(layer);
    this.#written(request.epoch, true);
  }

  /** False where there was nothing to delete; epoch and version are checked all the same. */
  delete(request: DeleteRegionRequest): boolean {
    this.#admit(request);
    if (!this.#stored) return false;
    this.#attributes = new Map();
    this.#dropLayers();
    this.#written(request.epoch, false);
    return true;
  }

  #admit(request: { readonly epoch: number; readonly expectedVersion?: number | undefined }): void {
    if (request.epoch < this.#fenceEpoch) {
      throw new MeshError("FENCED", `${formatRegion(this.region)} is at epoch ${this.#fenceEpoch}, the write carries ${request.epoch}`, {
        metadata: { region: formatRegion(this.region), current_epoch: String(this.#fenceEpoch), owner_server_id: String(this.read.ownerServerId) },
      });
    }
    const current = this.#stored ? this.#version : 0;
    if (request.expectedVersion === undefined || request.expectedVersion === current) return;
    throw new MeshError("VERSION_MISMATCH", `${formatRegion(this.region)} is at version ${current}, not ${request.expectedVersion}`, {
      metadata: { region: formatRegion(this.region), current_version: String(current) },
    });
  }

  #written(epoch: number, stored: boolean): void {
    this.#version += 1;
    this.#stored = stored;
    this.#fenceEpoch = epoch;
  }

  #dropLayers(): void {
    this.#replacesLayers = true;
    this.#setLayers.clear();
    this.#removedLayers.clear();
    this.#layerBytes.clear();
  }

  #setLayer(layer: RegionLayer): void {
    this.#setLayers.set(layer.name, layer);
    this.#removedLayers.delete(layer.name);
    this.#layerBytes.set(layer.name, layer.data.length);
  }
}
