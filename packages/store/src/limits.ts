/** Limits of the contract (proto comments), and those that the store adds. Bytes are bytes of UTF-8. */

export const ATTRIBUTES_MAX = 64;
export const ATTRIBUTE_KEY_BYTES_MAX = 64;
export const ATTRIBUTE_VALUE_BYTES_MAX = 1_024;
export const LAYERS_MAX = 32;
export const LAYER_NAME_BYTES_MAX = 64;
export const LAYER_BYTES_MAX = 1_048_576;
/** All layers of a region together. */
export const REGION_LAYER_BYTES_MAX = 3_145_728;
export const CONTENT_TYPE_BYTES_MAX = 128;
export const REQUEST_ID_BYTES_MAX = 64;
export const WRITES_MAX = 64;
export const PAGE_SIZE_MAX = 1_000;
export const PAGE_SIZE_DEFAULT = 100;
export const PAGE_TOKEN_CHARS_MAX = 1_024;
export const KINDS_MAX = 16;
export const KIND_BYTES_MAX = 64;
export const ENTITY_ID_BYTES_MAX = 64;
export const SPHERE_RADIUS_M_MAX = 100_000;
/** Entities in one LoadRegion. */
export const LOADED_ENTITIES_MAX = 1_000;
/** Bytes of entities in one LoadRegion: with the layers it stays below the 4 MiB that a gRPC client takes by default. */
export const LOADED_ENTITY_BYTES_MAX = 786_432;
/** Bytes of rows in one page, for the same reason; a page holds at least one row. */
export const PAGE_BYTES_MAX = 3_145_728;
/** Rows of all kinds in one Materialize. */
export const MATERIALIZE_ROWS_MAX = 65_536;
/** Ranges of Morton keys that one spatial query is cut into: each reads at most a page. */
export const MORTON_RANGES = 16;
