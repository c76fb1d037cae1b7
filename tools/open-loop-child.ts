// The process of open-loop.ts: told once what to offer, answers what came of it. Ends with who started it.
import { offerAll, type OpenLoopSpec } from "./open-loop.ts";

process.on("disconnect", () => process.exit(1));
process.once("message", (spec: OpenLoopSpec) => {
  offerAll(spec).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    },
  );
});
