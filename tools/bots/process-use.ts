/** Processor time and memory of processes, from /proc. */
import { processorMs, residentMiB } from "../bench-groups.ts";
import { isAlive } from "../process-identity.ts";

/** Of one process, over some time. */
export interface ProcessUse {
  readonly name: string;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly residentMiB: number;
}

interface Watched {
  readonly name: string;
  readonly pid: number;
}

export class ProcessMeter {
  readonly #processes: readonly Watched[];
  #since = new Map<string, { readonly atMs: number; readonly usedMs: number }>();

  constructor(processes: readonly Watched[]) {
    this.#processes = processes;
    this.begin();
  }

  begin(): void {
    this.#since = new Map(this.#living().map((each) => [each.name, { atMs: performance.now(), usedMs: processorMs(each) }]));
  }

  /** One that ended is another's to report. */
  #living(): Watched[] {
    return this.#processes.filter(({ pid }) => isAlive(pid));
  }

  /** Since the beginning. */
  read(): ProcessUse[] {
    return this.#living().map((each) => {
      const since = this.#since.get(each.name) ?? { atMs: 0, usedMs: 0 };
      const cpuPercent = ((processorMs(each) - since.usedMs) * 100) / Math.max(1, performance.now() - since.atMs);
      return { name: each.name, cpuPercent, residentMiB: residentMiB(each) };
    });
  }
}
