// The SDK as a studio installs it: JavaScript and declarations for plain Node, without anything of the workspace.
import { stripTypeScriptTypes } from "node:module";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import { ROOT, runTool } from "./step.ts";

const CLIENT = join(ROOT, "packages", "client");
/** What can be imported, and the file behind it. */
const ENTRIES = { index: "src/index.ts", contract: "src/contract.ts" } as const;
/** The oldest Node that the package runs on, and the library that it has: of ES2024 the well-formed strings. */
const NODE_MAJOR = 20;
const NODE_LIBS = ["es2023", "es2024.string", "esnext.disposable"];

interface Manifest {
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** The manifest of the built package. */
function builtManifest(): object {
  const { version, description, license, dependencies } = manifestOf(CLIENT);
  const entry = (name: keyof typeof ENTRIES): object => ({ types: `./types/client/${ENTRIES[name].replace(/\.ts$/, ".d.ts")}`, default: `./${name}.js` });
  return {
    name: "@statemesh/client",
    version,
    description,
    license,
    type: "module",
    engines: { node: `>=${NODE_MAJOR}` },
    sideEffects: false,
    exports: { ".": entry("index"), "./contract": entry("contract") },
    files: ["*.js", "types", "examples"],
    // Patches are the studio's to take.
    dependencies: { "@grpc/grpc-js": `^${dependencies["@grpc/grpc-js"]}` },
  };
}

/** Builds the package into `folder`, which is emptied first. */
export async function buildClientPackage(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build({
    entryPoints: Object.fromEntries(Object.entries(ENTRIES).map(([name, file]) => [name, join(CLIENT, file)])),
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: "node",
    target: `node${NODE_MAJOR}`,
    format: "esm",
    legalComments: "none",
    external: ["@grpc/grpc-js"],
    logLevel: "warning",
  });
  writeDeclarations(join(folder, "types"));
  writeExamples(join(folder, "examples"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(builtManifest(), null, 2)}\n`);
  cpSync(join(CLIENT, "README.md"), join(folder, "README.md"));
  cpSync(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
}

/** Declarations of everything that the entries reach, checked against the library of the oldest Node. */
function writeDeclarations(folder: string): void {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const scratch = mkdtempSync(join(ROOT, ".cache", "client-types-"));
  try {
    const out = join(scratch, "out");
    const compilerOptions = {
      lib: NODE_LIBS,
      rootDir: join(ROOT, "packages"),
      outDir: out,
      composite: false,
      incremental: false,
      // What comes by way of node_modules would not be emitted.
      paths: { "@statemesh/*": [join(ROOT, "packages", "*", "src", "index.ts")] },
      typeRoots: [join(ROOT, "node_modules", "@types")],
    };
    const files = Object.values(ENTRIES).map((file) => join(CLIENT, file));
    const config = join(scratch, "tsconfig.json");
    writeFileSync(config, JSON.stringify({ extends: join(ROOT, "tsconfig.base.json"), compilerOptions, files }));
    const { ok, output } = runTool("tsc", ["-p", config]);
    if (!ok) throw new Error(`the SDK does not compile against ${NODE_LIBS.join(", ")}, what Node ${NODE_MAJOR} has:\n${output}`);
    copyReachable(out, folder, Object.values(ENTRIES).map((file) => `client/${file.replace(/\.ts$/, ".d.ts")}`));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const SPECIFIER = /((?:from|import)\s*\(?\s*")((?:\.{1,2}\/|@statemesh\/)[^"]+)(")/g;

/** Copies declarations from the compiler's folder, those that the first ones lead to; packages of the workspace become files beside them. */
function copyReachable(from: string, to: string, first: readonly string[]): void {
  const waiting = [...first];
  const done = new Set<string>();
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (done.has(file)) continue;
    done.add(file);
    const here = dirname(file);
    const text = readFileSync(join(from, file), "utf8").replaceAll(SPECIFIER, (_whole, before: string, specifier: string, after: string) => {
      const target = specifier.startsWith("@statemesh/") ? `${specifier.slice("@statemesh/".length)}/src/index.d.ts` : join(here, specifier.replace(/\.ts$/, ".d.ts"));
      if (!existsSync(join(from, target))) throw new Error(`${file} refers to ${specifier}, which has no declarations`);
      waiting.push(target);
      const path = relative(here, target).replace(/\.d\.ts$/, ".js");
      return `${before}${path.startsWith(".") ? path : `./${path}`}${after}`;
    });
    mkdirSync(join(to, here), { recursive: true });
    writeFileSync(join(to, file), text);
  }
}

/** The examples, their types replaced by blanks. */
function writeExamples(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(join(CLIENT, "examples"))) {
    const path = join(CLIENT, "examples", file);
    if (!file.endsWith(".ts")) cpSync(path, join(folder, file));
    else writeFileSync(join(folder, file.replace(/\.ts$/, ".js")), stripTypeScriptTypes(readFileSync(path, "utf8")).replaceAll(/(from "\.\/[^"]+)\.ts"/g, '$1.js"'));
  }
}
