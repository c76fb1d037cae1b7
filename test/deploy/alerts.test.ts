import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

const ROOT = join(import.meta.dirname, "..", "..");
const FOLDER = join(ROOT, "deploy", "prometheus");

interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly { readonly alert: string; readonly expr: string; readonly annotations: Readonly<Record<string, string>> }[] }[];
}

/** Names of metrics, as the services' code gives them. */
function metricNames(): Set<string> {
  const names = new Set<string>();
  for (const service of readdirSync(join(ROOT, "services"))) {
    const source = join(ROOT, "services", service, "src");
    for (const file of readdirSync(source).filter((name) => name.endsWith(".ts"))) {
      for (const [, name] of readFileSync(join(source, file), "utf8").matchAll(/(?:byGroup\("|single\("|name: "(?:statemesh_)?)([a-z_]+)"/g)) names.add(`statemesh_${name}`);
    }
  }
  return names;
}

test("alerts watch metrics that there are, and say what they mean", () => {
  const names = metricNames();
  const files = readdirSync(FOLDER);
  expect(files).not.toEqual([]);
  for (const file of files) {
    const { groups } = parse(readFileSync(join(FOLDER, file), "utf8")) as Rules;
    for (const { alert, expr, annotations } of groups.flatMap(({ rules }) => rules)) {
      const used = expr.match(/statemesh_[a-z_]+/g) ?? [];
      expect(used, alert).not.toEqual([]);
      for (const name of used) expect(names, alert).toContain(name);
      expect(annotations["summary"], alert).toBeTruthy();
    }
  }
});
