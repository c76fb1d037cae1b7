import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DIRECTION, specifiers, wrongImports } from "./imports.ts";
import { projectFiles, ROOT } from "./project-files.ts";

const files = projectFiles();

test("packages import from earlier packages only, and services from no other service", () => {
  const wrong = files.filter(({ path }) => path.endsWith(".ts") && !path.startsWith("test/tidy/")).flatMap(wrongImports);
  expect(wrong).toEqual([]);
});

test("every package has its place in the direction", () => {
  expect(readdirSync(join(ROOT, "packages")).toSorted()).toEqual([...DIRECTION].toSorted());
});

test("a package declares what it imports, and the compiler's references are the same", () => {
  const wrong: string[] = [];
  for (const { path, text } of files.filter((file) => /^(packages|services)\/[^/]+\/package\.json$/.test(file.path))) {
    const folder = path.slice(0, -"/package.json".length);
    const manifest = JSON.parse(text) as { dependencies?: Record<string, string>; devDependencies?: Record<string, string> };
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).filter((name) => name.startsWith("@statemesh/"));
    const own = files.filter((file) => file.path.startsWith(`${folder}/`) && file.path.endsWith(".ts"));
    const used = new Set(own.flatMap((file) => specifiers(file.text)).filter((name) => name.startsWith("@statemesh/")).map((name) => name.split("/").slice(0, 2).join("/")));
    used.delete(`@statemesh/${folder.split("/").at(-1)}`);
    for (const name of used) if (!declared.includes(name)) wrong.push(`${folder} imports ${name} without declaring it`);
    const config = files.find((file) => file.path === `${folder}/tsconfig.json`);
    const references = (JSON.parse(config?.text ?? "{}") as { references?: { path: string }[] }).references ?? [];
    const referenced = references.map((reference) => `@statemesh/${reference.path.split("/").at(-1)}`);
    for (const name of used) if (!referenced.includes(name)) wrong.push(`${folder}/tsconfig.json does not reference ${name}`);
  }
  expect(wrong).toEqual([]);
});

test.each([
  ["packages/world/src/x.ts", 'import { y } from "@statemesh/mesh";', "packages/world may not import packages/mesh"],
  ["packages/raft/src/x.ts", 'export * from "../../mesh/src/index.ts";', "packages/raft may not reach into packages/mesh"],
  ["services/region-store/src/x.ts", 'import type { y } from "@statemesh/consensus-node";', "services/region-store may not import services/consensus-node"],
  ["services/region-store/src/x.ts", 'const { y } = await import("../../consensus-node/src/z.ts");', "may not reach into services/consensus-node"],
  ["packages/service/src/x.ts", 'import {\n  y,\n  z,\n} from "@statemesh/client";', "packages/service may not import packages/client"],
  ["packages/mesh/src/x.ts", 'import { y } from "../../../tools/step.ts";', "may not reach into tools"],
])("%s: %s would be found", (path, text, complaint) => {
  expect(wrongImports({ path, text }).join("\n")).toContain(complaint);
});
