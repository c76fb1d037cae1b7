// The conflict-arbiter's process. Ends with status 2 where its configuration or its policy file is wrong.
import { configurationOfProcess, createLogger, describeConfiguration } from "@statemesh/service";
import { PolicyError } from "@statemesh/world";
import { program } from "./options.ts";
import { serveArbiter } from "./serve.ts";

const config = configurationOfProcess(program);
const log = createLogger({ service: program.name, level: config.logLevel });
log.info({ config: describeConfiguration(program, config) }, "configuration");
try {
  await serveArbiter(config, log, true);
} catch (error) {
  if (error instanceof PolicyError || (config.policyFile !== undefined && error instanceof Error && "path" in error && error.path === config.policyFile)) {
    process.stderr.write(`${program.name}: --policy-file: ${error.message}\n`);
    process.exit(2);
  }
  log.fatal({ err: error }, "cannot start");
  process.exit(1);
}
