/** A network namespace for each node, joined by a bridge that this process stands on too. It goes away with the run (see `traces.ts`). */
import { networkInterfaces } from "node:os";
import { command } from "./command.ts";
import { namespaceFile, RUN_BRIDGE, RUN_TAG } from "./traces.ts";

/** 198.18.0.0/15 is set aside for tests of networks (RFC 2544): nobody's addresses. */
const NETWORKS = Array.from({ length: 200 }, (_, at) => `198.18.${at + 20}`);
const FIRST_HOST = 11;
/** Chains of the packet filter, by the word that leads a rule. */
const CHAINS = { input: "type filter hook input priority 0;", output: "type filter hook output priority 0;", redirect: "type nat hook output priority -100;" } as const;

/** Hosts 1..n, each in a namespace of its own. */
export class Network {
  /** The interface of a host inside of its namespace. */
  readonly interface: string = "eth0";
  readonly #network: string;
  readonly #namespaces: readonly string[];
  /** What each fault asks of each host's packet filter, by host and fault. */
  readonly #rules: readonly Map<string, readonly string[]>[];
  /** Filters change one after the other: each change writes the whole table. */
  #last: Promise<void> = Promise.resolve();

  private constructor(network: string, count: number) {
    this.#network = network;
    this.#namespaces = Array.from({ length: count }, (_, at) => `${RUN_TAG}-${at + 1}`);
    this.#rules = this.#namespaces.map(() => new Map());
  }

  /** Makes `count` hosts, 1..9; one network a process at a time. Needs root. */
  static async create(count: number): Promise<Network> {
    const taken = Object.values(networkInterfaces()).flatMap((all) => all ?? []).map((each) => each.address);
    const routes = await command(["ip", "-4", "route", "show", "table", "all"]);
    // From a place of its own, so that two runs that begin at the same moment do not take the same one.
    const free = NETWORKS.map((_, at) => NETWORKS[(at + process.pid) % NETWORKS.length] ?? "").find((network) => !taken.some((address) => address.startsWith(`${network}.`)) && !routes.includes(`${network}.`));
    if (free === undefined) throw new Error("no free network in 198.18.0.0/16");
    const made = new Network(free, count);
    try {
      await made.#build();
    } catch (error) {
      await made.close();
      throw error;
    }
    return made;
  }

  /** This process's address on the bridge, where arbiter and region store listen. */
  get gateway(): string {
    return `${this.#network}.1`;
  }

  /** Address of host `id`, 1..n. */
  address(id: number): string {
    return `${this.#network}.${FIRST_HOST + id - 1}`;
  }

  /** What a process of host `id` is started through. */
  launcher(id: number): readonly string[] {
    const namespace = this.#namespaces[id - 1];
    if (namespace === undefined) throw new Error(`no host ${id}`);
    return ["nsenter", `--net=${namespaceFile(namespace)}`];
  }

  /** Runs a command in the namespace of host `id`. */
  async inside(id: number, argv: readonly string[], input = ""): Promise<string> {
    return await command([...this.launcher(id), ...argv], input);
  }

  /**
   * Sets what one fault asks of host `id`'s packet filter; no rules: takes it away.
   *
   * @param rules nft rules, each led by its chain, `input`, `output` or `redirect`: `input ip saddr 198.18.20.12 counter drop`
   */
  async filter(id: number, fault: string, rules: readonly string[]): Promise<void> {
    const own = this.#rules[id - 1];
    if (own === undefined) throw new Error(`no host ${id}`);
    const change = this.#last.then(async () => {
      if (rules.length === 0) own.delete(fault);
      else own.set(fault, rules);
      const lines = ["table inet chaos", "delete table inet chaos", "table inet chaos {"];
      for (const [chain, hook] of Object.entries(CHAINS)) {
        const inChain = [...own.values()].flat().filter((rule) => rule.startsWith(`${chain} `));
        // Without a rule there is no chain: not every kernel has every kind.
        if (inChain.length > 0) lines.push(`chain on_${chain} { ${hook}`, ...inChain.map((rule) => rule.slice(chain.length + 1)), "}");
      }
      await this.inside(id, ["nft", "-f", "-"], `${lines.join("\n")}\n}\n`);
    });
    this.#last = change.catch((): void => {
      // The caller of this change is told; the next change is made all the same.
    });
    await change;
  }

  /** Packets that the counting rules of host `id`'s filter have met since they were set. */
  async filtered(id: number): Promise<number> {
    const listed = await this.inside(id, ["nft", "list", "table", "inet", "chaos"]);
    return [...listed.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** Takes the hosts away. What runs on them goes on without a network. */
  async close(): Promise<void> {
    for (const namespace of this.#namespaces) await command(["/bin/sh", "-c", 'ip netns del "$1" 2>/dev/null; exit 0', "del", namespace]);
    await command(["/bin/sh", "-c", 'ip link del "$1" 2>/dev/null; exit 0', "del", RUN_BRIDGE]);
  }

  async #build(): Promise<void> {
    await command(["ip", "link", "add", RUN_BRIDGE, "type", "bridge"]);
    await command(["ip", "addr", "add", `${this.gateway}/24`, "dev", RUN_BRIDGE]);
    await command(["ip", "link", "set", RUN_BRIDGE, "up"]);
    for (const [at, namespace] of this.#namespaces.entries()) {
      const id = at + 1;
      await command(["ip", "netns", "add", namespace]);
      const outer = `${RUN_BRIDGE}n${id}`;
      await command(["ip", "link", "add", outer, "type", "veth", "peer", "name", this.interface, "netns", namespace]);
      await command(["ip", "link", "set", outer, "master", RUN_BRIDGE, "up"]);
      await this.inside(id, ["ip", "addr", "add", `${this.address(id)}/24`, "dev", this.interface]);
      await this.inside(id, ["ip", "link", "set", this.interface, "up"]);
      await this.inside(id, ["ip", "link", "set", "lo", "up"]);
    }
  }
}
