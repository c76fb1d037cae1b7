// The consensus-node's process; `consensus-node wal`, which looks at the log of one that does not run; `consensus-node heal-report` and `consensus-node verify`. Ends with status 2 where its configuration or its policy file is wrong.
import { ConfigurationError, configurationOfProcess, createLogger, describeConfiguration } from "@statemesh/service";
import { PolicyError } from "@statemesh/world";
import { healReportCommand } from "./heal-report-command.ts";
import { program } from "./options.ts";
import { serveNode } from "./serve.ts";
import { verifyCommand } from "./verify-command.ts";
import { walCommand } from "./wal-command.ts";

const command = { wal: walCommand, "heal-report": healReportCommand, verify: verifyCommand }[process.argv[2] ?? ""];
if (command !== undefined) {
  const status = await command(
    process.argv.slice(3),
    (text) => process.stdout.write(text),
    (text) => process.stderr.write(text),
  );
  process.exit(status);
}
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
