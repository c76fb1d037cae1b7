// The consensus-node's process. Ends with status 2 where its configuration or its policy file is wrong.
import { ConfigurationError, configurationOfProcess, createLogger, describeConfiguration } from "@statemesh/service";
import { PolicyError } from "@statemesh/world";
import { program } from "./options.ts";
import { serveNode } from "./serve.ts";

const config = configurationOfProcess(program);
const log = createLogger({ service: program.name, level: config.logLevel });
log.info({ config: describeConfiguration(program, config) }, "configuration");
try {
  await serveNode(config, log, true);
} catch (error) {
  if (error instanceof PolicyError || error instanceof ConfigurationError) {
    process.stderr.write(`${program.name}: ${error.message}\n`);
    process.exit(2);
  }
  log.fatal({ err: error }, "cannot start");
  process.exit(1);
}
