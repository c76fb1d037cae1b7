import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage, SnapshotMeta } from "@statemesh/contract";
import { decodeConfiguration, RaftCore } from "../src/index.ts";
import type { Configuration, HardState, RaftOptions, Ready } from "../src/index.ts";

const NAMES = new Map(Object.entries(RaftMessageType).map(([name, type]) => [type, name]));
const decoder = new TextDecoder();

type Limits = Pick<RaftOptions, "electionTicks" | "heartbeatTicks" | "maxInflightMessages" | "maxInflightBytes" | "maxMessageBytes" | "maxUncommittedBytes" | "quorum" | "checkQuorum" | "leaseReads" | "quiescence">;

interface Host {
  core: RaftCore;
  /** What is durable. */
  hardState: HardState;
  snapshot: SnapshotMeta | undefined;
  entries: LogEntry[];
  /** Readys that are handed to storage and not durable. */
  writing: Ready[];
  shown: string;
}

/** The replicas of one group, moved by hand: each command of a transcript does one thing and says what came of it. */
export class TranscriptCluster {
  readonly #hosts = new Map<number, Host>();
  #bootstrap: number[] = [];
  #network: RaftMessage[] = [];
  #limits: Limits = { electionTicks: 3, heartbeatTicks: 1, maxInflightMessages: 256, maxInflightBytes: 1 << 20, maxMessageBytes: 1 << 20, maxUncommittedBytes: 1 << 20 };
  #out: string[] = [];

  /** Runs one command line and returns its log. */
  run(line: string): string {
    this.#out = [];
    const [name = "", ...words] = line.split(" ");
    const options = new Map<string, string>();
    const rest: string[] = [];
    for (const word of words) {
      const at = word.indexOf("=");
      if (at > 0) options.set(word.slice(0, at), word.slice(at + 1));
      else rest.push(word);
    }
    if (name === "silently") {
      this.run(words.join(" "));
      return "ok";
    }
    this.#command(name, rest, options);
    return this.#out.length === 0 ? "ok" : this.#out.join("\n");
  }

  #command(name: string, words: string[], options: Map<string, string>): void {
    const id = Number(words[0]);
    switch (name) {
      case "cluster":
        this.#limits = { ...this.#limits, ...Object.fromEntries([...options].map(([key, value]) => [key, value === "true" || value === "false" ? value === "true" : Number.isNaN(Number(value)) ? value : Number(value)])) };
        this.#bootstrap = Array.from({ length: id }, (_, n) => n + 1);
        for (const node of this.#bootstrap) this.#boot(node, { term: 0, vote: 0, commit: 0 }, []);
        return;
      case "without-sleep": {
        const host = this.#host(id);
        return this.#boot(id, host.hardState, host.entries, host.snapshot, { quiescence: false });
      }
      case "join":
        return this.#boot(id, { term: 0, vote: 0, commit: 0 }, []);
      case "configure": {
        const ids = (key: string): number[] => (options.get(key) ?? "").split(",").filter((text) => text !== "").map(Number);
        const result = this.#host(id).core.proposeConfiguration({ voters: ids("voters"), learners: ids("learners") });
        return this.#say(result.ok ? `proposed ${result.term}/${result.index}` : `refused: ${"rule" in result ? result.rule : result.reason}`);
      }
      case "configuration": {
        const { core } = this.#host(id);
        return this.#say(`${id} goes by ${showConfiguration(core.configuration)} of ${core.configurationIndex}${core.configurationIndex <= core.commitIndex ? "" : ", not committed"}`);
      }
      case "caught-up":
        return this.#say(`${words[1]} ${this.#host(id).core.learnerCaughtUp(Number(words[1]), Number(options.get("lag") ?? 0)) ? "has caught up" : "lags"}`);
      case "could-decide":
        return this.#say(this.#host(id).core.couldDecide({ voters: words.slice(1).map(Number), learners: [] }) ? "yes" : "no");
      case "lose":
        this.#network = this.#network.filter(({ from, to }) => from !== id && to !== id);
        return;
      case "node": {
        const terms = (options.get("log") ?? "").split(",").filter((term) => term !== "");
        const entries = terms.map((term, at): LogEntry => ({ term: Number(term), index: at + 1, kind: 0, data: new Uint8Array(0) }));
        this.#boot(id, { term: Number(options.get("term") ?? terms.at(-1) ?? 0), vote: Number(options.get("vote") ?? 0), commit: Number(options.get("commit") ?? 0) }, entries);
        return;
      }
      case "campaign":
        return this.#host(id).core.campaign();
      case "tick":
        for (let n = Number(words[1] ?? 1); n > 0; n--) this.#host(id).core.tick();
        return this.#state(id);
      case "propose": {
        const { core } = this.#host(id);
        const data = new TextEncoder().encode(words[1]!.repeat(Number(options.get("repeat") ?? 1)));
        for (let n = Number(options.get("times") ?? 1); n > 0; n--) {
          const result = core.propose(data);
          this.#say(result.ok ? `proposed ${result.term}/${result.index}` : `refused: ${result.reason}`);
        }
        return;
      }
      case "read":
        return this.#say(this.#host(id).core.readIndex(Number(words[1])));
      case "transfer":
        return this.#say(this.#host(id).core.transferLeadership(Number(words[1])));
      case "unreachable":
        return this.#host(id).core.reportUnreachable(Number(words[1]));
      case "silent":
        this.#host(id).core.nodeSilent(Number(words[1]), Number(options.get("ticks") ?? 0));
        return this.#state(id);
      case "heard":
        this.#host(id).core.nodeHeard(Number(words[1]));
        return this.#state(id);
      case "compact":
        return this.#compact(id, Number(options.get("through")), Number(options.get("snapshot")));
      case "ready":
        if (!this.#ready(id)) this.#say(`${id} has nothing to do`);
        return;
      case "persist":
        return this.#persist(id, Number(words[1] ?? Infinity));
      case "deliver":
        return this.#deliver(id, Number(options.get("from") ?? 0), words.includes("drop"));
      case "install":
        return this.#install(id, words.includes("fails"));
      case "stabilize":
        return this.#stabilize(words.map(Number));
      case "crash":
        return this.#crash(id);
      case "status":
        return this.#status(id);
      case "log":
        return this.#say(`${id} has ${this.#logOf(id)}`);
      default:
        throw new Error(`unknown command ${name}`);
    }
  }

  #boot(id: number, hardState: HardState, entries: LogEntry[], snapshot?: SnapshotMeta, more: Partial<Limits> = {}): void {
    const core = new RaftCore({
      ...this.#limits, ...more, groupId: 1, nodeId: id, random: () => 0,
      ...(this.#bootstrap.includes(id) ? { voters: this.#bootstrap } : { voters: [], joining: true }),
      restored: { hardState, entries, applied: snapshot?.index ?? 0, ...(snapshot === undefined ? {} : { snapshot }) },
    });
    this.#hosts.set(id, { core, hardState, entries: entries.slice(), snapshot, writing: [], shown: "" });
    this.#state(id, true);
  }

  #host(id: number): Host {
    const host = this.#hosts.get(id);
    if (host === undefined) throw new Error(`no node ${id}`);
    return host;
  }

  #say(line: string): void {
    this.#out.push(line);
  }

  /** Says role, term and leader where they changed. */
  #state(id: number, quiet = false): void {
    const host = this.#host(id);
    const { role, term, leader, isQuiescent } = host.core;
    const state = `${id} is ${role} in term ${term}${leader === 0 ? ", without a leader" : leader === id ? "" : ` of ${leader}`}${isQuiescent ? ", asleep" : ""}`;
    if (state !== host.shown && !quiet) this.#say(state);
    host.shown = state;
  }

  #ready(id: number): boolean {
    const host = this.#host(id);
    const { core } = host;
    this.#state(id);
    if (!core.hasReady()) return false;
    const ready = core.ready();
    this.#say(`${id} ready ${ready.sequence}`);
    if (ready.hardState !== undefined) this.#say(`  store term=${ready.hardState.term} vote=${ready.hardState.vote} commit=${ready.hardState.commit}`);
    if (ready.snapshot !== undefined) this.#say(`  install snapshot ${ready.snapshot.term}/${ready.snapshot.index}`);
    if (ready.entries.length > 0) this.#say(`  store ${showEntries(ready.entries)}`);
    for (const message of ready.messages) this.#say(`  send ${showMessage(message)}`);
    for (const message of ready.messagesAfterPersist) this.#say(`  once durable, send ${showMessage(message)}`);
    if (ready.committed.length > 0) this.#say(`  apply ${showEntries(ready.committed)}`);
    for (const { context, index } of ready.readStates) this.#say(`  read ${context} may be served at ${index}`);
    if (ready.abortedReads.length > 0) this.#say(`  reads aborted: ${ready.abortedReads.join(", ")}`);
    this.#network.push(...ready.messages);
    if (ready.mustSync || ready.messagesAfterPersist.length > 0) host.writing.push(ready);
    const applied = ready.committed.at(-1)?.index ?? ready.snapshot?.index;
    if (applied !== undefined) core.applied(applied);
    return true;
  }

  #persist(id: number, count: number): void {
    const host = this.#host(id);
    const done = host.writing.splice(0, Math.min(count, host.writing.length));
    for (const ready of done) {
      if (ready.hardState !== undefined) host.hardState = ready.hardState;
      if (ready.snapshot !== undefined) {
        host.snapshot = ready.snapshot;
        host.entries = [];
      }
      const first = ready.entries[0]?.index;
      if (first !== undefined) host.entries = [...host.entries.filter(({ index }) => index < first), ...ready.entries];
      host.core.persisted(ready.sequence);
      if (ready.mustSync) this.#say(`${id} ready ${ready.sequence} is durable`);
      for (const message of ready.messagesAfterPersist) {
        this.#say(`  send ${showMessage(message)}`);
        this.#network.push(message);
      }
    }
    this.#state(id);
  }

  #deliver(id: number, from: number, drop: boolean): void {
    const mine = (message: RaftMessage): boolean => message.to === id && (from === 0 || message.from === from) && message.type !== RaftMessageType.SNAPSHOT;
    const messages = this.#network.filter(mine);
    this.#network = this.#network.filter((message) => !mine(message));
    for (const message of messages) {
      this.#say(`${drop ? "lost" : "got"} ${showMessage(message)}`);
      if (!drop) this.#host(id).core.step(message);
    }
    this.#state(id);
  }

  /** The transport of a snapshot ends: the receiver has it durably, or not. */
  #install(id: number, fails: boolean): void {
    const at = this.#network.findIndex((message) => message.to === id && message.type === RaftMessageType.SNAPSHOT);
    const message = this.#network.splice(at, 1)[0];
    if (at < 0 || message === undefined) throw new Error(`no snapshot on the way to ${id}`);
    const sender = this.#host(message.from).core;
    if (!fails) {
      const meta: SnapshotMeta = { groupId: 1, index: message.logIndex, term: message.logTerm, ...voted(sender.snapshotConfiguration(message.logIndex)), size: 0, crc32c: 0 };
      this.#say(`${id} received snapshot ${meta.term}/${meta.index}: ${this.#host(id).core.stepSnapshot(meta, message) ? "to install" : "not needed"}`);
    }
    sender.reportSnapshot(id, !fails);
  }

  #stabilize(ids: number[]): void {
    const nodes = ids.length > 0 ? ids : [...this.#hosts.keys()];
    for (let again = true; again; ) {
      again = false;
      for (const id of nodes) {
        while (this.#ready(id)) again = true;
        if (this.#host(id).writing.length > 0) {
          this.#persist(id, Infinity);
          again = true;
        }
      }
      for (const id of nodes) {
        for (const from of nodes) {
          if (!this.#network.some((message) => message.to === id && message.from === from && message.type !== RaftMessageType.SNAPSHOT)) continue;
          this.#deliver(id, from, false);
          again = true;
        }
      }
    }
  }

  #compact(id: number, through: number, snapshot: number): void {
    const host = this.#host(id);
    const configuration = host.core.snapshotConfiguration(snapshot);
    if (configuration === undefined) return this.#say(`${id} can take no snapshot at ${snapshot}`);
    const meta: SnapshotMeta = { groupId: 1, index: snapshot, term: host.core.termOf(snapshot)!, ...voted(configuration), size: 0, crc32c: 0 };
    host.core.compact(through, meta);
    host.snapshot = meta;
    this.#say(`${id} has ${this.#logOf(id)}`);
  }

  #crash(id: number): void {
    const host = this.#host(id);
    this.#boot(id, host.hardState, host.entries, host.snapshot);
    this.#state(id);
    this.#say(`${id} is ${host.core.role === "leader" ? "no longer leader" : "up again"} in term ${this.#host(id).core.term} with ${this.#logOf(id)}`);
  }

  #status(id: number): void {
    const { term, vote, role, commitIndex, appliedIndex, lastIndex, durableIndex, progress, transferee, leaseTicks } = this.#host(id).core.status();
    this.#say(`${id}: ${role} term=${term} vote=${vote} applied=${appliedIndex} commit=${commitIndex} durable=${durableIndex} last=${lastIndex}${transferee === 0 ? "" : ` transfer to ${transferee}`}${leaseTicks === 0 ? "" : ` lease=${leaseTicks}`}`);
    for (const [peer, { match, next, state, recentActive }] of progress) {
      if (peer !== id) this.#say(`  ${peer}: ${state} match=${match} next=${next}${recentActive ? "" : " silent"}`);
    }
  }

  #logOf(id: number): string {
    const { core } = this.#host(id);
    const { firstIndex, lastIndex } = core;
    const terms: string[] = [];
    for (let index = firstIndex; index <= lastIndex; index++) terms.push(`${core.termOf(index)}/${index}`);
    return `${terms.length === 0 ? "an empty log" : terms.join(" ")}${firstIndex > 1 ? ` behind ${firstIndex - 1}` : ""}, committed ${core.commitIndex}`;
  }
}

function showEntries(entries: readonly LogEntry[]): string {
  return entries.map(({ term, index, kind, data }) => `${term}/${index}${kind === 1 ? " empty" : kind === 2 ? ` ${showConfiguration(decodeConfiguration(data)!)}` : data.length === 0 ? "" : ` "${showData(data)}"`}`).join(", ");
}

function showConfiguration({ voters, outgoing, learners }: Configuration): string {
  const list = (ids: readonly number[]): string => ids.join(",");
  return `{voters ${list(voters)}${outgoing.length === 0 ? "" : `, outgoing ${list(outgoing)}`}${learners.length === 0 ? "" : `, learners ${list(learners)}`}}`;
}

function voted(configuration: Configuration | undefined): Pick<SnapshotMeta, "voters" | "learners"> {
  if (configuration === undefined) throw new Error("no configuration for the snapshot");
  return { voters: [...configuration.voters], learners: [...configuration.learners] };
}

function showData(data: Uint8Array): string {
  const text = decoder.decode(data);
  return text.length > 12 ? `${text.slice(0, 9)}... ${text.length} bytes` : text;
}

/** In words: (term/index) is an entry's place. */
function showMessage(message: RaftMessage): string {
  const { type, from, to, term, logIndex, logTerm, entries, commit, reject, rejectHint, context, forced, quiesce } = message;
  const head = `${from}->${to} ${NAMES.get(type)} term=${term}`;
  switch (type) {
    case RaftMessageType.PRE_VOTE:
    case RaftMessageType.VOTE:
      return `${head} last=${logTerm}/${logIndex}${forced ? " forced" : ""}`;
    case RaftMessageType.PRE_VOTE_RESPONSE:
    case RaftMessageType.VOTE_RESPONSE:
      return `${head} ${reject ? "refused" : "granted"}`;
    case RaftMessageType.APPEND:
      return `${head} after=${logTerm}/${logIndex} commit=${commit}${entries.length === 0 ? "" : ` [${showEntries(entries)}]`}`;
    case RaftMessageType.APPEND_RESPONSE:
      return reject ? `${head} refused after ${logIndex}, perhaps ${logTerm}/${rejectHint}` : `${head} holds ${logIndex}`;
    case RaftMessageType.HEARTBEAT:
      return `${head} commit=${commit}${context === 0 ? "" : ` round=${context}`}${quiesce ? " sleep?" : ""}`;
    case RaftMessageType.HEARTBEAT_RESPONSE:
      return `${head}${context === 0 ? "" : ` round=${context}`}${quiesce ? " asleep" : ""}`;
    case RaftMessageType.SNAPSHOT:
      return `${head} at ${logTerm}/${logIndex}`;
    default:
      return head;
  }
}
