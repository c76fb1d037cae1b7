/** As much of etcd's v3 protocol as a measurement needs: put, put many in a transaction, read, and who leads. */
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { clientOptions } from "@statemesh/service";

const DEADLINE_MS = 10_000;
/** A field of length-delimited bytes has wire type 2. */
const BYTES = 2;

type Done = (error: ServiceError | null) => void;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}

function field(number: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | BYTES]), varint(value.length), value]);
}

function put(key: string, value: Buffer): Buffer {
  return Buffer.concat([field(1, Buffer.from(key)), field(2, value)]);
}

/** Top-level fields of a message: numbers as unsigned integers, bytes as they are. */
function fields(message: Buffer): Map<number, bigint | Buffer> {
  const found = new Map<number, bigint | Buffer>();
  let at = 0;
  const next = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++] ?? 0;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = Number(next());
    if ((tag & 7) === BYTES) {
      const length = Number(next());
      found.set(tag >>> 3, message.subarray(at, at + length));
      at += length;
    } else found.set(tag >>> 3, next());
  }
  return found;
}

/** A connection to one member. */
export class EtcdClient {
  readonly #client: Client;

  constructor(endpoint: string) {
    this.#client = new Client(endpoint, credentials.createInsecure(), clientOptions({ ownConnection: true }));
  }

  put(key: string, value: Buffer, done: Done): void {
    this.#call("KV/Put", put(key, value), done);
  }

  /** Puts all of them in one transaction. */
  putAll(keys: readonly string[], value: Buffer, done: Done): void {
    // `success` of the transaction is field 2, and a put is field 2 of each of its operations.
    this.#call("KV/Txn", Buffer.concat(keys.map((key) => field(2, field(2, put(key, value))))), done);
  }

  /** A linearizable read of one key, which is etcd's default. */
  read(key: string, done: Done): void {
    this.#call("KV/Range", field(1, Buffer.from(key)), done);
  }

  /** Whether this member leads; false also where it does not answer. */
  async leads(): Promise<boolean> {
    return await new Promise((resolve) => {
      this.#call("Maintenance/Status", Buffer.alloc(0), (error, response) => {
        if (error !== null || response === undefined) return resolve(false);
        const status = fields(response);
        const header = status.get(1);
        const memberId = header instanceof Buffer ? fields(header).get(2) : undefined;
        resolve(memberId !== undefined && status.get(4) === memberId);
      });
    });
  }

  close(): void {
    this.#client.close();
  }

  #call(method: string, request: Buffer, done: (error: ServiceError | null, response?: Buffer) => void): void {
    const asIs = (bytes: Buffer): Buffer => bytes;
    this.#client.makeUnaryRequest(`/etcdserverpb.${method}`, asIs, asIs, request, new Metadata(), { deadline: Date.now() + DEADLINE_MS }, done);
  }
}
