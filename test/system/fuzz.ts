/** Random messages in the shape of the contract: every field may hold anything that its type allows. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import fc from "fast-check";
import { bytesField, doubleField, fixed32Field, type RawMethod, varintField } from "./raw-call.ts";

const PROJECT = join(import.meta.dirname, "../..");
/** Messages in messages. */
const DEPTH_MAX = 5;
const RUNS_PER_METHOD = 25;

/** What `buf build` says of a message, as far as it is needed. */
interface FieldDescription {
  readonly number: number;
  readonly type: string;
  readonly typeName?: string;
  readonly label: string;
}

interface MessageDescription {
  readonly name: string;
  readonly field?: readonly FieldDescription[];
  readonly nestedType?: readonly MessageDescription[];
}

interface FileDescription {
  readonly package: string;
  readonly messageType?: readonly MessageDescription[];
  readonly service?: readonly { readonly name: string; readonly method: readonly { readonly name: string; readonly inputType: string }[] }[];
}

const TEXTS = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("", "a", "item-1", "rich", "gold", "structure_placement", "trade", "creature_position", "event_sequence", "region_0_0_0", "region_1_2", "x".repeat(64), "x".repeat(200), "\u0000", "é".repeat(30), "__proto__") },
  { weight: 1, arbitrary: fc.string({ maxLength: 40, unit: "binary" }) },
);
const INTEGERS = fc.constantFrom(0n, 1n, 2n, 7n, 8n, 64n, 343n, 4_096n, 1_048_575n, 1_048_576n, 2_147_483_647n, 4_294_967_295n, BigInt(Number.MAX_SAFE_INTEGER));
const DOUBLES = fc.constantFrom(0, 1, -1, 0.005, 100, 2_000, -2_000.5, 2_097_151_999, 2_097_152_000, -2_097_152_000, 1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5e-324);

class Shapes {
  readonly #messages = new Map<string, MessageDescription>();
  readonly inputs = new Map<string, string>();
  readonly #made = new Map<string, fc.Arbitrary<Buffer>>();

  constructor(files: readonly FileDescription[]) {
    for (const file of files) {
      for (const message of file.messageType ?? []) this.#take(`.${file.package}`, message);
      for (const service of file.service ?? []) for (const { name, inputType } of service.method) this.inputs.set(`/${file.package}.${service.name}/${name}`, inputType);
    }
  }

  #take(scope: string, message: MessageDescription): void {
    const name = `${scope}.${message.name}`;
    this.#messages.set(name, message);
    for (const nested of message.nestedType ?? []) this.#take(name, nested);
  }

  message(name: string, depth = 0): fc.Arbitrary<Buffer> {
    const description = this.#messages.get(name);
    if (description === undefined || depth > DEPTH_MAX) return fc.constant(Buffer.alloc(0));
    const key = `${name}@${depth}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const fields = (description.field ?? []).map((field) => this.#field(field, depth));
    const made = fc.tuple(...fields).map((parts) => Buffer.concat(parts));
    this.#made.set(key, made);
    return made;
  }

  #field(field: FieldDescription, depth: number): fc.Arbitrary<Buffer> {
    const one = this.#value(field, depth);
    if (field.label === "LABEL_REPEATED") return fc.array(one, { maxLength: 3 }).map((parts) => Buffer.concat(parts));
    return fc.oneof({ weight: 3, arbitrary: one }, { weight: 1, arbitrary: fc.constant(Buffer.alloc(0)) });
  }

  #value({ number, type, typeName }: FieldDescription, depth: number): fc.Arbitrary<Buffer> {
    switch (type) {
      case "TYPE_STRING":
        return TEXTS.map((text) => bytesField(number, text));
      case "TYPE_BYTES":
        return fc.uint8Array({ maxLength: 64 }).map((bytes) => bytesField(number, bytes));
      case "TYPE_DOUBLE":
        return DOUBLES.map((value) => doubleField(number, value));
      case "TYPE_FIXED32":
        return INTEGERS.map((value) => fixed32Field(number, Number(value % 4_294_967_296n)));
      case "TYPE_MESSAGE":
        return this.message(typeName ?? "", depth + 1).map((bytes) => bytesField(number, bytes));
      case "TYPE_BOOL":
        return fc.boolean().map((value) => varintField(number, value ? 1n : 0n));
      case "TYPE_ENUM":
        return fc.integer({ min: 0, max: 10 }).map((value) => varintField(number, BigInt(value)));
      case "TYPE_FIXED64":
        return fc.constant(Buffer.alloc(0));
      default:
        return INTEGERS.map((value) => varintField(number, value));
    }
  }
}

/**
 * Sends random messages to every method. `send` answers what is wrong with an answer.
 *
 * @throws Error with fast-check's seed and the smallest message that shows a problem
 */
export async function fuzzRequests(methods: readonly RawMethod[], send: (method: RawMethod, request: Buffer) => Promise<string | undefined>): Promise<undefined> {
  const image = execFileSync(join(PROJECT, "node_modules/.bin/buf"), ["build", "-o", "-#format=json"], { cwd: PROJECT, maxBuffer: 64 * 1024 * 1024 });
  const shapes = new Shapes((JSON.parse(image.toString("utf8")) as { file: FileDescription[] }).file);
  for (const method of methods) {
    const input = shapes.inputs.get(method.path);
    if (input === undefined) throw new Error(`buf does not know ${method.path}`);
    await fc.assert(fc.asyncProperty(shapes.message(input), async (request) => {
      const problem = await send(method, request);
      if (problem !== undefined) throw new Error(`${method.path}: ${problem} (request ${request.toString("hex").slice(0, 2_000)})`);
    }), { numRuns: RUNS_PER_METHOD, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: true });
  }
}
