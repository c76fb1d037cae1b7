/** The region store: bulk layers and attributes of regions, and queries over what is stored. */
import {
  type DeleteRegionResponse, type Entity, type LoadRegionRequest, type LoadRegionResponse, MeshError, type QueryEntitiesResponse, type QueryRegionsResponse, type ReadCausalHistoryResponse, type Region,
  type RegionLayer, type RegionRecord, type SpatialQuery, type StoredCausalEvent, type StoreRegionResponse,
} from "@statemesh/contract";
import type { Place } from "./operation-builder.ts";
import { type CallKind, type CallLimits, OPERATION, READ_CALL, type UnaryCaller } from "./unary-caller.ts";

/** What a region is stored with, as a whole. */
export interface RegionContent {
  /** At most 64, keys 1..64 bytes, values at most 1,024 bytes. */
  readonly attributes?: ReadonlyMap<string, string>;
  /** At most 32, of at most 1 MiB each and 3 MiB together. */
  readonly layers?: readonly RegionLayer[];
}

/** What of a region changes. */
export interface RegionPatch {
  /** Attributes to set. */
  readonly attributes?: ReadonlyMap<string, string>;
  /** Attributes to remove. */
  readonly removeAttributes?: readonly string[];
  /** Layers to put in. */
  readonly layers?: readonly RegionLayer[];
  /** Layers to remove. */
  readonly removeLayers?: readonly string[];
}

/** Of one write, what may be said besides its content. */
export interface StoreWriteOptions extends CallLimits {
  /** The version to replace, 0: not stored; another one is refused with VERSION_MISMATCH. Default: any. */
  readonly expectedVersion?: number;
  /** Idempotency key, 1..64 bytes. Default: a new one for each call, which all its attempts share. */
  readonly requestId?: string;
}

const STORED: CallKind = { ...READ_CALL, hedge: "store" };

/**
 * Calls of the region store, with the failover and retries of all other calls. A write carries the epoch of a lease, and has an id, so that it
 * happens once however often it is sent.
 */
export class RegionStore {
  readonly #caller: UnaryCaller | undefined;
  readonly #nextId: () => string;

  /** @param caller undefined: the client was given no `storeEndpoints` */
  constructor(caller: UnaryCaller | undefined, nextId: () => string) {
    this.#caller = caller;
    this.#nextId = nextId;
  }

  /** A region with its entities; `record` is undefined where it was never stored. A new owner loads it after it has the lease: then it is final. */
  async load(region: Region, what: Partial<Omit<LoadRegionRequest, "region" | "regionText">> = {}, limits?: CallLimits): Promise<LoadRegionResponse> {
    const request = { region, regionText: "", withoutLayerData: false, withoutEntities: false, bypassCache: false, ...what };
    return await this.#calls.call((node, metadata, options, done) => node.store.loadRegion(request, metadata, options, done), STORED, limits);
  }

  /** Stores a region as a whole. @throws MeshError FENCED, VERSION_MISMATCH, REQUEST_ID_REUSED */
  async store({ region, epoch }: Place, { attributes = new Map(), layers = [] }: RegionContent, options: StoreWriteOptions = {}): Promise<StoreRegionResponse> {
    const request = { region, epoch, attributes: new Map(attributes), layers: [...layers], ...this.#once(options) };
    return await this.#calls.call((node, metadata, callOptions, done) => node.store.storeRegion(request, metadata, callOptions, done), OPERATION, options);
  }

  /** Changes parts of a stored region. @throws MeshError as `store`, and NOT_FOUND where it is not stored */
  async patch({ region, epoch }: Place, change: RegionPatch, options: StoreWriteOptions = {}): Promise<StoreRegionResponse> {
    const { attributes = new Map(), removeAttributes = [], layers = [], removeLayers = [] } = change;
    const request = {
      region, epoch, setAttributes: new Map(attributes), removeAttributes: [...removeAttributes], setLayers: [...layers], removeLayers: [...removeLayers], ...this.#once(options),
    };
    return await this.#calls.call((node, metadata, callOptions, done) => node.store.patchRegion(request, metadata, callOptions, done), OPERATION, options);
  }

  /** Deletes layers and attributes of a region; entities of the strong path stay. @throws MeshError as `store` */
  async remove({ region, epoch }: Place, options: StoreWriteOptions = {}): Promise<DeleteRegionResponse> {
    const request = { region, epoch, ...this.#once(options) };
    return await this.#calls.call((node, metadata, callOptions, done) => node.store.deleteRegion(request, metadata, callOptions, done), OPERATION, options);
  }

  /** Stored regions in a box, a sphere, around a region, or at a position; without layer data. Pages are asked for as they are read. */
  async *regions(shape: NonNullable<SpatialQuery["shape"]>, limits?: CallLimits): AsyncGenerator<RegionRecord, void, undefined> {
    for (let pageToken = "", more = true; more; more = pageToken !== "") {
      const request = { query: { shape }, pageSize: 0, pageToken };
      const page = await this.#calls.call<QueryRegionsResponse>((node, metadata, options, done) => node.store.queryRegions(request, metadata, options, done), STORED, limits);
      yield* page.records;
      pageToken = page.nextPageToken;
    }
  }

  /** Stored entities in a box, a sphere, around a region, or at a position. Pages are asked for as they are read. @param kinds at most 16; empty: all */
  async *entities(shape: NonNullable<SpatialQuery["shape"]>, kinds: readonly string[] = [], limits?: CallLimits): AsyncGenerator<Entity, void, undefined> {
    for (let pageToken = "", more = true; more; more = pageToken !== "") {
      const request = { query: { shape }, kinds: [...kinds], pageSize: 0, pageToken };
      const page = await this.#calls.call<QueryEntitiesResponse>((node, metadata, options, done) => node.store.queryEntities(request, metadata, options, done), STORED, limits);
      yield* page.entities;
      pageToken = page.nextPageToken;
    }
  }

  /**
   * The causal events of a region that are stored, each after all of the region that it depends on: also those from before the nodes' last start. Pages are
   * asked for as they are read; it ends where there is no more by now. What was published lately may not be stored yet: about a second.
   *
   * @param from `resumeToken` of a page of `historyPage`; empty: from the oldest event that is kept
   * @throws MeshError HISTORY_TRIMMED where what follows `from` is kept no more; PEER_REFUSED where the region store is too old to have it
   */
  async *history(region: Region, from = "", limits?: CallLimits): AsyncGenerator<StoredCausalEvent, void, undefined> {
    for (let pageToken = from, more = true; more; more = pageToken !== "") {
      const page = await this.historyPage(region, { pageToken, pageSize: 1_000 }, limits);
      yield* page.events;
      pageToken = page.nextPageToken;
    }
  }

  /** One page of `history`, with the token to go on with later, and what is known to be missing. @throws MeshError as `history` */
  async historyPage(region: Region, { pageToken = "", pageSize = 0 }: { readonly pageToken?: string; readonly pageSize?: number } = {}, limits?: CallLimits): Promise<ReadCausalHistoryResponse> {
    const request = { region, pageSize, pageToken };
    return await this.#calls.call<ReadCausalHistoryResponse>((node, metadata, options, done) => node.store.readCausalHistory(request, metadata, options, done), STORED, limits);
  }

  get #calls(): UnaryCaller {
    if (this.#caller === undefined) throw MeshError.field("storeEndpoints", "is required for calls of the region store");
    return this.#caller;
  }

  #once({ requestId = this.#nextId(), expectedVersion }: StoreWriteOptions): { requestId: string; expectedVersion?: number } {
    return expectedVersion === undefined ? { requestId } : { requestId, expectedVersion };
  }
}
