/** A consensus node of the version before members were on record: this build, told to read and say version 1 only. */
import { configurationOfProcess, createLogger } from "@statemesh/service";
import { program } from "../../services/consensus-node/src/options.ts";
import { serveNode } from "../../services/consensus-node/src/serve.ts";

const config = configurationOfProcess(program);
await serveNode(config, createLogger({ service: program.name, level: config.logLevel }), true, { min: 1, max: 1 });
