import { MeshError } from "@statemesh/contract";

/**
 * Stands in for a request that could not be decoded. grpc-js answers INTERNAL where a decoder throws, and that
 * blames the server: so the decoder hands this on, and the method answers INVALID_ARGUMENT.
 */
export class Undecodable {
  readonly error: MeshError;

  constructor(error: MeshError) {
    this.error = error;
  }
}

/** `decode` with the size checked first and its errors caught. */
export function guardedDecoder<T>(decode: (bytes: Buffer) => T, maxBytes: number): (bytes: Buffer) => T | Undecodable {
  return (bytes) => {
    if (bytes.length > maxBytes) {
      const sizes = { size: String(bytes.length), limit: String(maxBytes) };
      return new Undecodable(new MeshError("MESSAGE_TOO_LARGE", `the message has ${sizes.size} bytes; at most ${sizes.limit} are taken`, { metadata: sizes }));
    }
    try {
      return decode(bytes);
    } catch (error) {
      const rule = error instanceof Error ? error.message : "cannot be decoded";
      return new Undecodable(new MeshError("MALFORMED_MESSAGE", `the bytes are not the message: ${rule}`, { cause: error }));
    }
  };
}
