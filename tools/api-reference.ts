// docs/api: the reference of the TypeScript SDK, from the comments in its source.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Application, LogLevel, type TypeDocOptions } from "typedoc";
import { ROOT } from "./step.ts";

export const API_FOLDER = "docs/api";

/** Writes the reference into `target`, a folder that is emptied. Answers what is wrong with the comments; nothing: all is said. */
export async function writeApiReference(target: string): Promise<string[]> {
  const options: Partial<TypeDocOptions> & Record<string, unknown> = {
    entryPoints: [join(ROOT, "packages/client/src/index.ts")],
    tsconfig: writeConfig(),
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

/** All packages from their source: through references it would depend on what the compiler left behind from some earlier time. */
function writeConfig(): string {
  const folder = join(ROOT, ".cache");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "api-reference.tsconfig.json");
  const compilerOptions = {
    rootDir: join(ROOT, "packages"),
    noEmit: true,
    composite: false,
    incremental: false,
    paths: { "@statemesh/*": [join(ROOT, "packages", "*", "src", "index.ts")] },
    typeRoots: [join(ROOT, "node_modules", "@types")],
  };
  writeFileSync(file, JSON.stringify({ extends: join(ROOT, "tsconfig.base.json"), compilerOptions, files: [join(ROOT, "packages/client/src/index.ts")] }));
  return file;
}
