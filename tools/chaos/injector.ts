/** Carries a schedule out, and keeps a majority of nodes undisturbed unless a fault says that it takes the majority away. */
import { SimRandom } from "@statemesh/simulator";
import { type ChaosMesh, MINORITY } from "./chaos-mesh.ts";
import type { Fault } from "./fault.ts";
import type { Planned, Schedule } from "./schedule.ts";

/** A fault that was. Times are ms since the load began. */
export interface Injected {
  readonly kind: string;
  readonly what: string;
  readonly fromMs: number;
  toMs: number;
  readonly outage: boolean;
  /** What showed that it took effect; undefined: nothing did. */
  evidence: string | undefined;
}

/** Load without a fault at the start and at the end. */
const CALM_FIRST_MS = 3_000;
const CALM_LAST_MS = 4_000;
/** Kept free for the last fault, beyond its own length. */
const LAST_SPARE_S = 5;
const COMPANY_AFTER_MS = 1_000;
/** How long a node that was disturbed may take to answer again before the next fault may find it calm. */
const BACK_WITHIN_MS = 20_000;

export class Injector {
  readonly done: Injected[] = [];
  /** Planned faults that could not be done when their time came. */
  readonly passed: string[] = [];
  readonly #mesh: ChaosMesh;
  readonly #nowMs: () => number;
  readonly #active = new Map<Injected, { readonly fault: Fault; readonly alone: boolean }>();
  /** Nodes that are on their way back. */
  readonly #returning = new Set<number>();

  constructor(mesh: ChaosMesh, nowMs: () => number) {
    this.#mesh = mesh;
    this.#nowMs = nowMs;
  }

  /** What goes on now. */
  get active(): readonly Injected[] {
    return [...this.#active.keys()];
  }

  /** Takes step after step until the time is over, and at last what stays; then all is healed. An abort heals at once. */
  async run({ steps, last }: Schedule, endMs: number, stop: AbortSignal): Promise<void> {
    await pause(CALM_FIRST_MS, stop);
    const lastMs = CALM_LAST_MS + (last === undefined ? 0 : (last.seconds + LAST_SPARE_S) * 1_000);
    for (const { fault, company, restSeconds } of steps) {
      const longestMs = 1_000 * Math.max(fault.seconds, 1 + (company?.seconds ?? 0));
      if (stop.aborted || this.#nowMs() + longestMs + lastMs > endMs) break;
      await this.#take(fault, company, stop);
      await pause(restSeconds * 1_000, stop);
    }
    if (last !== undefined && !stop.aborted) await this.#take(last, undefined, stop);
  }

  async #take(planned: Planned, company: Planned | undefined, stop: AbortSignal): Promise<void> {
    const first = await this.#inject(planned);
    const over = (async (): Promise<void> => {
      await pause(planned.seconds * 1_000, stop);
      if (first !== undefined) await this.#heal(first);
    })();
    if (company !== undefined && (await pause(COMPANY_AFTER_MS, stop))) {
      const second = await this.#inject(company);
      await pause(company.seconds * 1_000, stop);
      if (second !== undefined) await this.#heal(second);
    }
    await over;
  }

  async #inject(planned: Planned): Promise<Injected | undefined> {
    const { kind } = planned;
    const random = new SimRandom(planned.seed);
    const leaders = await this.#mesh.leaders();
    const active = [...this.#active.values()];
    const busy = new Set([...this.#returning, ...active.flatMap(({ fault }) => fault.disturbed)]);
    const calm = shuffle(this.#mesh.nodes.map((node) => node.nodeId).filter((id) => !busy.has(id)), random);
    const budget = Math.max(0, MINORITY - busy.size);
    const company = active.some(({ alone }) => alone) || (kind.alone === true && active.length > 0);
    const fault = company ? undefined : kind.create({ mesh: this.#mesh, random, leaders, calm, budget });
    if (fault === undefined) {
      this.passed.push(`${kind.name} at ${Math.round(this.#nowMs() / 1_000)} s`);
      return undefined;
    }
    const injected: Injected = { kind: kind.name, what: fault.what, fromMs: this.#nowMs(), toMs: Number.POSITIVE_INFINITY, outage: fault.outage === true, evidence: undefined };
    this.#active.set(injected, { fault, alone: kind.alone === true });
    this.done.push(injected);
    await fault.inject();
    return injected;
  }

  async #heal(injected: Injected): Promise<void> {
    const active = this.#active.get(injected);
    if (active === undefined) return;
    const { fault } = active;
    injected.evidence = await fault.evidence();
    for (const id of fault.disturbed) this.#returning.add(id);
    await fault.heal();
    injected.toMs = this.#nowMs();
    this.#active.delete(injected);
    await Promise.all(fault.disturbed.map(async (id) => {
      const endMs = performance.now() + BACK_WITHIN_MS;
      while ((await this.#mesh.status(id)) === undefined && performance.now() < endMs) await new Promise((wake) => setTimeout(wake, 100));
      this.#returning.delete(id);
    }));
  }
}

/** Waits; false where it was aborted. */
async function pause(ms: number, stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return false;
  return await new Promise((done) => {
    const wake = (): void => {
      clearTimeout(timer);
      stop.removeEventListener("abort", wake);
      done(!stop.aborted);
    };
    const timer = setTimeout(wake, Math.max(0, ms));
    stop.addEventListener("abort", wake, { once: true });
  });
}

function shuffle(list: readonly number[], random: SimRandom): number[] {
  return list.map((id) => ({ id, at: random.next() })).sort((a, b) => a.at - b.at).map(({ id }) => id);
}
