// Callers that do not read what they asked for.
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { ReadRequest, type ReadResponse, ReadResponse as Responses } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { unary } from "../src/index.ts";
import { UNREAD_BYTES_CONNECTION, UnreadAnswers } from "../src/unread-answers.ts";
import { type Echo, startEcho, until } from "./echo-server.ts";

const ANSWER_BYTES = 1024 * 1024;
const OVERLOADED = "8";

const closing: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function large(): Promise<{ echo: Echo; answered: () => number }> {
  let answered = 0;
  const echo = await startEcho({
    read: unary((): ReadResponse => {
      answered++;
      return Responses.fromPartial({ nextPageToken: "x".repeat(ANSWER_BYTES) });
    }),
  });
  closing.push(() => echo.server.stop());
  return { echo, answered: () => answered };
}

/** A caller that does not read before it is told to. */
class Lazy {
  readonly #session: ClientHttp2Session;
  readonly #streams: ClientHttp2Stream[] = [];
  readonly statuses: string[] = [];

  constructor(address: string) {
    this.#session = connectHttp2(`http://${address}`);
    closing.push(() => this.#session.destroy());
  }

  ask(): void {
    const stream = this.#session.request({ ":method": "POST", ":path": "/statemesh.v1.ConsistencyService/Read", "content-type": "application/grpc", te: "trailers" });
    const noteStatus = (headers: Record<string, unknown>): void => {
      const { "grpc-status": status } = headers;
      if (typeof status === "string") this.statuses.push(status);
    };
    stream.on("response", noteStatus);
    stream.on("trailers", noteStatus);
    stream.on("error", () => undefined);
    const message = ReadRequest.encode(ReadRequest.fromPartial({})).finish();
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    stream.end(frame);
    this.#streams.push(stream);
  }

  read(): void {
    for (const stream of this.#streams) stream.resume();
  }
}

describe("who does not read the answers to its calls", () => {
  it("is refused more beyond a limit, while others are served, and is served again once it has read", async () => {
    const { echo, answered } = await large();
    const lazy = new Lazy(echo.server.address);
    const most = UNREAD_BYTES_CONNECTION / ANSWER_BYTES;
    for (let n = 0; n < 2 * most; n++) lazy.ask();
    await until(() => lazy.statuses.length >= most);
    expect(new Set(lazy.statuses)).toEqual(new Set([OVERLOADED]));
    expect(answered()).toBe(most);
    const other = new Lazy(echo.server.address);
    other.ask();
    other.read();
    await until(() => other.statuses.length === 1);
    expect(other.statuses).toEqual(["0"]);
    lazy.read();
    await until(() => lazy.statuses.filter((status) => status === "0").length === most);
    const before = lazy.statuses.length;
    lazy.ask();
    lazy.read();
    await until(() => lazy.statuses.length > before);
    expect(lazy.statuses.at(-1)).toBe("0");
  });

  it("is forgotten with its connection", async () => {
    const { echo, answered } = await large();
    const lazy = new Lazy(echo.server.address);
    for (let n = 0; n < 8; n++) lazy.ask();
    await until(() => answered() === 8);
    const unread = async (): Promise<number> => Number(/^statemesh_unread_answer_bytes (\S+)$/m.exec(await echo.server.registry.metrics())?.[1]);
    expect(await unread()).toBeGreaterThan(7 * ANSWER_BYTES);
    await closing.pop()?.();
    await until(async () => (await unread()) === 0);
  });
});

describe("answers that wait to be read", () => {
  it("of all connections together keep only those out that leave some there", () => {
    const answers = new UnreadAnswers();
    for (let peer = 0; peer < 16; peer++) for (let n = 0; n < 31; n++) answers.answered(() => `p${peer}`, ANSWER_BYTES);
    expect(answers.refusal(() => "p3")?.reason).toBe("OVERLOADED");
    expect(answers.refusal(() => "another")).toBeUndefined();
  });
});
