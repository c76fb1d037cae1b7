import { ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, checkContent, checkCount, checkText, CONTENT_TYPE_BYTES_MAX, LAYER_BYTES_MAX, LAYER_NAME_BYTES_MAX, LAYERS_MAX, REGION_LAYER_BYTES_MAX, REQUEST_ID_BYTES_MAX, requireRegion } from "@statemesh/store";
import { type DeleteRegionRequest, MeshError, type PatchRegionRequest, type Region, type RegionLayer, type StoreRegionRequest } from "@statemesh/contract";

/** Each throws INVALID_FIELD; `path` is "" or ends in a dot, such as `writes[3].store.`. */

export function checkStore(request: StoreRegionRequest, path: string): void {
  checkTarget(request, path);
  checkAttributes(request.attributes, `${path}attributes`);
  checkLayers(request.layers, `${path}layers`);
}

export function checkPatch(request: PatchRegionRequest, path: string): void {
  checkTarget(request, path);
  checkAttributes(request.setAttributes, `${path}set_attributes`);
  checkLayers(request.setLayers, `${path}set_layers`);
  checkRemoved(request.removeAttributes, ATTRIBUTES_MAX, ATTRIBUTE_KEY_BYTES_MAX, `${path}remove_attributes`);
  checkRemoved(request.removeLayers, LAYERS_MAX, LAYER_NAME_BYTES_MAX, `${path}remove_layers`);
  for (const name of request.removeAttributes) {
    if (request.setAttributes.has(name)) throw MeshError.field(`${path}remove_attributes`, "must not name an attribute that set_attributes sets");
  }
  for (const name of request.removeLayers) {
    if (request.setLayers.some((layer) => layer.name === name)) throw MeshError.field(`${path}remove_layers`, "must not name a layer that set_layers sets");
  }
}

export function checkDelete(request: DeleteRegionRequest, path: string): void {
  checkTarget(request, path);
}

interface Target {
  readonly region: Region | undefined;
  readonly epoch: number;
  readonly expectedVersion?: number | undefined;
  readonly requestId: string;
}

function checkTarget(request: Target, path: string): void {
  requireRegion(request.region, `${path}region`);
  checkCount(request.epoch, `${path}epoch`);
  if (request.expectedVersion !== undefined) checkCount(request.expectedVersion, `${path}expected_version`);
  checkText(request.requestId, 0, REQUEST_ID_BYTES_MAX, `${path}request_id`);
}

function checkAttributes(attributes: ReadonlyMap<string, string>, field: string): void {
  if (attributes.size > ATTRIBUTES_MAX) throw MeshError.field(field, `must have at most ${ATTRIBUTES_MAX} entries`);
  for (const [key, value] of attributes) {
    checkText(key, 1, ATTRIBUTE_KEY_BYTES_MAX, `${field} key`);
    checkContent(value, ATTRIBUTE_VALUE_BYTES_MAX, `${field}[${JSON.stringify(key)}]`);
  }
}

function checkLayers(layers: readonly RegionLayer[], field: string): void {
  if (layers.length > LAYERS_MAX) throw MeshError.field(field, `must have at most ${LAYERS_MAX} layers`);
  const names = new Set<string>();
  let bytes = 0;
  layers.forEach((layer, at) => {
    checkText(layer.name, 1, LAYER_NAME_BYTES_MAX, `${field}[${at}].name`);
    checkText(layer.contentType, 0, CONTENT_TYPE_BYTES_MAX, `${field}[${at}].content_type`);
    if (layer.data.length > LAYER_BYTES_MAX) throw MeshError.field(`${field}[${at}].data`, `must be at most ${LAYER_BYTES_MAX} bytes`);
    if (names.has(layer.name)) throw MeshError.field(`${field}[${at}].name`, "must be named once");
    names.add(layer.name);
    bytes += layer.data.length;
  });
  if (bytes > REGION_LAYER_BYTES_MAX) throw MeshError.field(field, `must hold at most ${REGION_LAYER_BYTES_MAX} bytes of data together`);
}

function checkRemoved(names: readonly string[], max: number, bytesMax: number, field: string): void {
  if (names.length > max) throw MeshError.field(field, `must have at most ${max} names`);
  names.forEach((name, at) => checkText(name, 1, bytesMax, `${field}[${at}]`));
}
