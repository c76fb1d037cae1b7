import { MeshError } from "@statemesh/contract";

/** How values of a game become the bytes that the mesh keeps, and back. Every server of the game uses the same. */
export interface Codec<Value> {
  /** The bytes of a value. */
  encode(value: Value): Uint8Array;
  /** The value of bytes. They come from other servers: throw where they are none. */
  decode(bytes: Uint8Array): Value;
}

/** Bytes as they are. */
export const bytesCodec: Codec<Uint8Array> = { encode: (bytes) => bytes, decode: (bytes) => bytes };

/**
 * JSON in UTF-8. What is read is what another server wrote.
 *
 * @param check returns the value, or throws where it is not one of the game's; default: the value as it is
 */
export function jsonCodec<Value>(check: (value: unknown) => Value = (value) => value as Value): Codec<Value> {
  return {
    encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
    decode: (bytes) => check(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))),
  };
}

/** Decodes what came from elsewhere. @throws MeshError INVALID_FIELD where it is no value of the type */
export function decoded<Value>(codec: Codec<Value>, bytes: Uint8Array, field: string, type: string): Value {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new MeshError("INVALID_FIELD", `${field}: is not what the type ${type} writes`, { field, cause });
  }
}
