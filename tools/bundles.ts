// One file a service, with the assets beside it: what an image holds.
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build, type Plugin } from "esbuild";
import { ROOT } from "./step.ts";

/** A file or folder that a service reads at run time, and the expression that finds it in the workspace. */
interface Asset {
  /** In the workspace, and the name that it gets beside the bundle. */
  readonly from: string;
  readonly name: string;
  readonly readBy: string;
  readonly expression: string;
}

const IMAGE: Asset = {
  from: "packages/contract/image.binpb",
  name: "image.binpb",
  readBy: "packages/service/src/reflection.ts",
  expression: 'import.meta.resolve("@statemesh/contract/image.binpb")',
};

const MIGRATIONS: Asset = {
  from: "services/region-store/migrations",
  name: "migrations/",
  readBy: "services/region-store/src/sql/migrations.ts",
  expression: 'new URL("../../migrations/", import.meta.url)',
};

/** Services by folder name, with their assets. */
export const BUNDLES: Readonly<Record<string, readonly Asset[]>> = {
  "conflict-arbiter": [IMAGE],
  "consensus-node": [IMAGE],
  "region-store": [IMAGE, MIGRATIONS],
};

/** Points the expressions that find assets at the bundle's own folder. */
function assetsBesideBundle(assets: readonly Asset[]): Plugin {
  return {
    name: "assets beside the bundle",
    setup(setup) {
      for (const asset of assets) {
        const file = join(ROOT, asset.readBy);
        setup.onLoad({ filter: new RegExp(`${escape(file)}$`) }, () => {
          const code = readFileSync(file, "utf8");
          if (!code.includes(asset.expression)) throw new Error(`${asset.readBy} no longer holds ${asset.expression}: bring tools/bundles.ts up to date`);
          return { contents: code.replace(asset.expression, `new URL("./${asset.name}", import.meta.url)`), loader: "ts" };
        });
      }
    },
  };
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

/** CommonJS packages in a module: they want these three. */
const BANNER = [
  'import { createRequire as statemeshCreateRequire } from "node:module";',
  'import { fileURLToPath as statemeshPath } from "node:url";',
  "const require = statemeshCreateRequire(import.meta.url);",
  "const __filename = statemeshPath(import.meta.url);",
  'const __dirname = statemeshPath(new URL(".", import.meta.url));',
].join("\n");

/** Bundles one service into `folder`, which is emptied first. Returns the path of its main file. */
export async function bundleService(service: string, folder: string): Promise<string> {
  const assets = BUNDLES[service];
  if (assets === undefined) throw new Error(`no service ${service}; there are ${Object.keys(BUNDLES).join(", ")}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const main = join(folder, "main.mjs");
  await build({
    entryPoints: [join(ROOT, "services", service, "src", "main.ts")],
    outfile: main,
    bundle: true,
    platform: "node",
    target: "node26",
    format: "esm",
    sourcemap: "linked",
    sourcesContent: false,
    legalComments: "linked",
    keepNames: true,
    banner: { js: BANNER },
    // pg looks for its native variant and lives without it.
    external: ["pg-native"],
    // Native code stays a file of its own, so a bundle is for the kind of machine that made it.
    loader: { ".node": "copy" },
    assetNames: "[name]",
    plugins: [assetsBesideBundle(assets)],
    logLevel: "warning",
  });
  for (const asset of assets) {
    const target = join(folder, asset.name);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(join(ROOT, asset.from), target, { recursive: true });
  }
  return relative(ROOT, main);
}
