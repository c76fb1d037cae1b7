/** Services that take connections and answer nothing: callers only notice by their own patience. */
import type { ServiceProcess } from "../../service-process.ts";
import type { FaultKind } from "../fault.ts";

function silent(name: string, about: string, seconds: readonly [number, number], serviceOf: (mesh: Parameters<FaultKind["create"]>[0]["mesh"]) => ServiceProcess | undefined): FaultKind {
  return {
    name,
    about,
    needs: [],
    seconds,
    create: ({ mesh }) => {
      const service = serviceOf(mesh);
      if (service === undefined || !service.running) return undefined;
      return {
        what: about,
        disturbed: [],
        inject: () => Promise.resolve(service.pause()),
        evidence: () => Promise.resolve(service.running ? "the process stood still" : undefined),
        heal: () => Promise.resolve(service.resume()),
      };
    },
  };
}

export const arbiterSilent: FaultKind = silent("arbiter-silent", "SIGSTOP of the arbiter", [4, 8], (mesh) => mesh.mesh.arbiter);
export const storeSilent: FaultKind = silent("store-silent", "SIGSTOP of the region store", [4, 12], (mesh) => mesh.mesh.regionStore);
