// docs/api: the reference of the TypeScript SDK, from the comments in its source.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Application, LogLevel, type TypeDocOptions } from "typedoc";
import { ROOT } from "./step.ts";

export const API_FOLDER = "docs/api";

/** Writes the reference into `target`, a folder that is emptied. Answers what is wrong with the comments; nothing: all is said. */
export async function writeApiReference(target: string): Promise<string[]> {
  const options: Partial<TypeDocOptions> & Record<string, unknown> = {
    entryPoints: [join(ROOT, "packages/client/src/index.ts")],
    tsconfig: join(ROOT, "packages/client/tsconfig.json"),
    plugin: ["typedoc-plugin-markdown"],
    name: "@statemesh/client",
    readme: "none",
    out: target,
    cleanOutputDir: true,
    // The contract's own messages are described in proto/.
    excludeExternals: true,
    externalPattern: ["**/contract/src/generated/**", "**/merge/src/**", "**/node_modules/**"],
    excludePrivate: true,
    excludeInternal: true,
    // Places in files would change with every edit.
    disableSources: true,
    githubPages: false,
    validation: { notExported: false, invalidLink: true, notDocumented: true },
    logLevel: LogLevel.Warn,
    skipErrorChecking: true,
    outputFileStrategy: "members",
    hidePageHeader: true,
    hideBreadcrumbs: true,
    entryFileName: "README",
    useCodeBlocks: true,
    parametersFormat: "table",
    propertiesFormat: "table",
    interfacePropertiesFormat: "table",
    classPropertiesFormat: "table",
    expandObjects: false,
  };
  rmSync(target, { recursive: true, force: true });
  const app = await Application.bootstrapWithPlugins(options as Partial<TypeDocOptions>);
  const said: string[] = [];
  app.logger.log = (message: string, level: LogLevel): void => {
    // Parts of a type without a name are said with what they are part of.
    if (level >= LogLevel.Warn && !message.includes(".__type.")) said.push(message);
  };
  const project = await app.convert();
  if (project === undefined) throw new Error(`the SDK cannot be read: ${said.join("\n")}`);
  app.validate(project);
  await app.generateOutputs(project);
  return said;
}
