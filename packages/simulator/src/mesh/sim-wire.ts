// The network between nodes: streams and transfers that share the path of their pair, as on TCP. Frames go through the
// wire format, so that nodes share nothing.
import { type IdentifyResponse, InstallSnapshotRequest, MeshError, StreamRequest } from "@statemesh/contract";
import type { PeerStream, PeerStreamEvents, PeerTransport } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { ProcessGate } from "./process-gate.ts";

/** What passes between two nodes, one way. */
export interface PathWeather {
  minDelayMs: number;
  maxDelayMs: number;
  /** Mean of a further, exponential delay; 0: none. */
  meanStraggleMs: number;
  /** Probability that a frame is lost, or arrives twice. */
  loss: number;
  duplication: number;
  /** Frames above this many bytes get stuck, and everything behind them on their stream. */
  maxBytes: number;
  /** Bytes a millisecond; a slow path is a clogged one. */
  bandwidth: number;
}

/** What a process shows to the network. */
export interface Listener {
  readonly gate: ProcessGate;
  /** A stream that a peer opened: takes its frames; answers a node id where a frame was an accepted hello. Throws where it is refused. */
  stream(): (frame: StreamRequest) => number | undefined;
  receiveSnapshot(parts: AsyncIterable<InstallSnapshotRequest>): Promise<void>;
  identify(): IdentifyResponse;
}

/** How long a node waits for another to say who it is. */
const IDENTIFY_TIMEOUT_MS = 2_000;

/** Sees every frame that is sent, decoded anew. */
export type FrameWatcher = (from: number, to: number, frame: StreamRequest) => void;

/** A latest arrival is kept for each way: streams keep their order. */
interface Path {
  readonly from: number;
  readonly to: number;
  weather: PathWeather;
  blocked: boolean;
  lastArrivalMs: number;
  /** What was sent while the way was blocked: it is sent again once it opens, if its connection still stands. */
  stalled: (() => void)[];
}

interface Connection {
  readonly from: number;
  readonly to: number;
  /** The client has given it up, or heard that it ended. */
  clientClosed: boolean;
  serverClosed: boolean;
  /** A frame too large for the path holds up all behind it. */
  wedged: boolean;
  breakOff(reason: string): void;
}

export class SimWire {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #recorder: Recorder;
  readonly #keepaliveMs: number;
  readonly #paths = new Map<number, Path>();
  readonly #listeners = new Map<number, Listener>();
  readonly #connections = new Set<Connection>();
  watch: FrameWatcher = () => undefined;

  constructor(simulation: Simulation, recorder: Recorder, nodes: readonly number[], weather: PathWeather, keepaliveMs: number) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.#recorder = recorder;
    this.#keepaliveMs = keepaliveMs;
    for (const from of nodes) {
      for (const to of nodes) this.#paths.set(from * 1_000 + to, { from, to, weather: { ...weather }, blocked: false, lastArrivalMs: 0, stalled: [] });
    }
  }

  path(from: number, to: number): Path {
    const path = this.#paths.get(from * 1_000 + to);
    if (path === undefined) throw new RangeError(`no path from ${from} to ${to}`);
    return path;
  }

  get paths(): Iterable<Path> {
    return this.#paths.values();
  }

  listen(node: number, listener: Listener): void {
    this.#listeners.set(node, listener);
  }

  /** The process of a node ended. `silently`: with its machine, so that nobody is told before keep-alives fail. */
  leave(node: number, silently: boolean): void {
    this.#listeners.delete(node);
    for (const connection of [...this.#connections]) {
      if (connection.from !== node && connection.to !== node) continue;
      if (connection.from === node) connection.clientClosed = true;
      else connection.serverClosed = true;
      this.#simulation.after(silently ? this.#keepaliveMs : 1, () => connection.breakOff("connection reset"));
    }
  }

  block(from: number, to: number): void {
    const path = this.path(from, to);
    if (path.blocked) return;
    path.blocked = true;
    this.#breakWhenDead(from, to);
  }

  unblock(from: number, to: number): void {
    const path = this.path(from, to);
    if (!path.blocked) return;
    path.blocked = false;
    const { stalled } = path;
    path.stalled = [];
    for (const arrive of stalled) this.#carry(path, 0, arrive);
  }

  /** Breaks all streams of a pair. Half-open: the server side does not hear of it, and still takes what is under way. */
  reset(a: number, b: number, halfOpen: boolean): void {
    for (const connection of [...this.#connections]) {
      if (!isBetween(connection, a, b)) continue;
      if (!halfOpen) connection.serverClosed = true;
      connection.breakOff("connection reset");
    }
  }

  /** Keep-alives find a dead path; whatever was sent since the last that passed is lost. */
  #breakWhenDead(from: number, to: number): void {
    this.#simulation.after(this.#keepaliveMs, () => {
      if (!this.path(from, to).blocked) return;
      for (const connection of [...this.#connections]) if (isBetween(connection, from, to)) connection.breakOff("keep-alive timed out");
    });
  }

  transport(from: number, to: number, gate: () => ProcessGate): PeerTransport {
    return {
      address: `node-${to}`,
      open: (events) => this.#open(from, to, gate(), events),
      installSnapshot: async (parts) => this.#installSnapshot(from, to, gate(), parts),
      close: () => undefined,
    };
  }

  /** Asks who answers there; UNREACHABLE where nobody does in time. */
  async identify(from: number, to: number, gate: ProcessGate): Promise<IdentifyResponse> {
    return new Promise((resolve, reject) => {
      let open = true;
      const once = (run: () => void): void =>
        gate.enter(() => {
          if (!open) return;
          open = false;
          run();
        });
      const failed = (): void => once(() => reject(new MeshError("UNREACHABLE", `no node answers at node-${to}`)));
      this.#simulation.after(IDENTIFY_TIMEOUT_MS, failed);
      this.#carry(this.path(from, to), 0, () => {
        const listener = this.#listeners.get(to);
        if (listener === undefined) return failed();
        listener.gate.enter(() => {
          const answer = listener.identify();
          this.#carry(this.path(to, from), 0, () => once(() => resolve(answer)));
        });
      });
    });
  }

  #carry(path: Path, bytes: number, arrive: () => void): void {
    if (path.blocked) {
      path.stalled.push(arrive);
      return;
    }
    const { minDelayMs, maxDelayMs, meanStraggleMs, bandwidth } = path.weather;
    let delayMs = minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs) + bytes / bandwidth;
    if (meanStraggleMs > 0) delayMs -= Math.log(1 - this.#random.next()) * meanStraggleMs;
    path.lastArrivalMs = Math.max(path.lastArrivalMs, this.#simulation.nowMs + delayMs);
    this.#simulation.after(path.lastArrivalMs - this.#simulation.nowMs, () => {
      // Cut in mid-flight: it is sent again when the way opens.
      if (path.blocked) path.stalled.push(arrive);
      else arrive();
    });
  }

  #open(from: number, to: number, gate: ProcessGate, events: PeerStreamEvents): PeerStream {
    const there = this.path(from, to);
    const back = this.path(to, from);
    let waiting = 0;
    let take: ((frame: StreamRequest) => number | undefined) | undefined;
    const connection: Connection = {
      from,
      to,
      clientClosed: false,
      serverClosed: false,
      wedged: false,
      breakOff: (reason) => close(reason, false),
    };
    this.#connections.add(connection);
    const close = (reason: string, refused: boolean, removed = false): void => {
      this.#connections.delete(connection);
      // A server that hears nothing of the end takes what is under way, and then finds out too.
      this.#simulation.after(this.#keepaliveMs, () => {
        connection.serverClosed = true;
      });
      if (connection.clientClosed) return;
      connection.clientClosed = true;
      gate.enter(() => events.closed(reason, refused, removed));
    };
    const listener = this.#listeners.get(to);
    if (listener === undefined) this.#simulation.after(1, () => close("connection refused", false));
    const deliver = (frame: StreamRequest): void => {
      if (listener === undefined || connection.serverClosed || this.#listeners.get(to) !== listener) return;
      listener.gate.enter(() => {
        if (connection.serverClosed) return;
        try {
          take ??= listener.stream();
          if (take(frame) === undefined) return;
        } catch (error) {
          if (!(error instanceof MeshError)) throw error;
          connection.serverClosed = true;
          const removed = error.reason === "MEMBER_REMOVED";
          this.#carry(back, 0, () => close(error.message, removed || error.reason === "PEER_REFUSED", removed));
          return;
        }
        this.#carry(back, 0, () => {
          if (!connection.clientClosed) gate.enter(() => connection.clientClosed || events.message());
        });
      });
    };
    return {
      write: (frame) => {
        if (connection.clientClosed) return;
        this.watch(from, to, frame);
        const bytes = StreamRequest.encode(frame).finish();
        waiting++;
        const passed = (): void => {
          waiting--;
        };
        this.#transmit(there, connection, frame.hello !== undefined, bytes.length, passed, () => deliver(StreamRequest.decode(bytes)));
      },
      get waiting() {
        return waiting;
      },
      cancel: () => this.#simulation.after(0, () => close("cancelled", false)),
      end: () => {
        connection.clientClosed = true;
        this.#carry(there, 0, () => close("ended", false));
      },
    };
  }

  #transmit(path: Path, connection: Connection, isHello: boolean, size: number, passed: () => void, arrive: () => void): void {
    const { weather } = path;
    if (size > weather.maxBytes && !connection.wedged) {
      connection.wedged = true;
      this.#recorder.fault("large frame stuck", path.from, path.to);
      this.#simulation.after(this.#keepaliveMs, () => connection.breakOff("keep-alive timed out"));
    }
    // Behind a frame that does not pass nothing passes, until the connection is given up.
    if (connection.wedged) return;
    if (!isHello && this.#random.chance(weather.loss)) {
      this.#recorder.fault("frame lost", path.from, path.to);
      this.#carry(path, 0, passed);
      return;
    }
    this.#carry(path, size, () => {
      passed();
      arrive();
    });
    if (!isHello && this.#random.chance(weather.duplication)) {
      this.#recorder.fault("frame doubled", path.from, path.to);
      this.#carry(path, size, arrive);
    }
  }

  async #installSnapshot(from: number, to: number, gate: ProcessGate, parts: AsyncIterable<InstallSnapshotRequest>): Promise<boolean> {
    const listener = this.#listeners.get(to);
    if (listener === undefined) throw new MeshError("UNREACHABLE", `node ${to} does not listen`);
    const inbox = new Inbox();
    let failure: Error | undefined;
    let installed: boolean | undefined;
    let wake: () => void = () => undefined;
    const connection: Connection = { from, to, clientClosed: false, serverClosed: false, wedged: false, breakOff: () => undefined };
    const ended = (outcome: boolean | Error): void => {
      this.#connections.delete(connection);
      if (connection.clientClosed) return;
      connection.clientClosed = true;
      gate.enter(() => {
        if (typeof outcome === "boolean") installed = outcome;
        else failure = outcome;
        wake();
      });
    };
    connection.breakOff = (reason) => {
      inbox.fail(new MeshError("UNREACHABLE", reason));
      ended(new MeshError("UNREACHABLE", reason));
    };
    this.#connections.add(connection);
    const answer = (outcome: boolean | Error): void => this.#carry(this.path(to, from), 0, () => ended(outcome));
    listener.receiveSnapshot(inbox).then(
      () => answer(true),
      (error: unknown) => answer(error instanceof Error ? error : new Error("a transfer failed", { cause: error })),
    );
    for await (const part of parts) {
      if (failure !== undefined) throw failure;
      if (installed !== undefined) return installed;
      this.#sendPart(connection, listener, inbox, InstallSnapshotRequest.encode(part).finish(), () => gate.enter(() => wake()));
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    this.#carry(this.path(from, to), 0, () => listener.gate.enter(() => inbox.end()));
    while (failure === undefined && installed === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) throw failure;
    return installed === true;
  }

  #sendPart(connection: Connection, listener: Listener, inbox: Inbox, bytes: Uint8Array, passed: () => void): void {
    const path = this.path(connection.from, connection.to);
    if (bytes.length > path.weather.maxBytes) {
      this.#recorder.fault("large frame stuck", connection.from, connection.to);
      this.#simulation.after(this.#keepaliveMs, () => connection.breakOff("keep-alive timed out"));
      return;
    }
    this.#carry(path, bytes.length, () => {
      if (!connection.serverClosed) listener.gate.enter(() => inbox.push(InstallSnapshotRequest.decode(bytes)));
      passed();
    });
  }
}

/** Parts of a snapshot as they arrive. */
class Inbox implements AsyncIterable<InstallSnapshotRequest> {
  #parts: InstallSnapshotRequest[] = [];
  #failure: Error | undefined;
  #ended = false;
  #wake: () => void = () => undefined;

  push(part: InstallSnapshotRequest): void {
    this.#parts.push(part);
    this.#wake();
  }

  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<InstallSnapshotRequest, void, undefined> {
    for (;;) {
      const part = this.#parts.shift();
      if (part !== undefined) {
        yield part;
        continue;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function isBetween(connection: Connection, a: number, b: number): boolean {
  return (connection.from === a && connection.to === b) || (connection.from === b && connection.to === a);
}
