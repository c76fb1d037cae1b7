import type { FaultKind } from "../fault.ts";
import { isAlive } from "../../process-identity.ts";

/** As a power cut would do it: server and connections at the same moment, also in the middle of a COMMIT. */
export const sqlDown: FaultKind = {
  name: "sql-down",
  about: "kill -9 of PostgreSQL and all its children, and its recovery",
  needs: [],
  seconds: [3, 8],
  create: ({ mesh }) => {
    const { pid } = mesh.postgres;
    if (!isAlive(pid)) return undefined;
    return {
      what: "kill -9 of PostgreSQL",
      disturbed: [],
      inject: () => Promise.resolve(mesh.killPostgres()),
      evidence: () => Promise.resolve(isAlive(pid) ? undefined : "the process was gone"),
      heal: () => mesh.restartPostgres(),
    };
  },
};
