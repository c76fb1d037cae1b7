// Alerts and dashboards ask for metrics that there are: a name that nobody serves never fires.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

const ROOT = join(import.meta.dirname, "../..");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

interface Panel {
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number };
  readonly targets: readonly { readonly expr: string }[];
}

/** Names of metrics in the services' code: written out, or behind the prefix that a helper puts before them. */
const served = ["services/consensus-node/src", "services/conflict-arbiter/src", "services/region-store/src", "packages/service/src"]
  .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts")).map((name) => readFileSync(join(ROOT, folder, name), "utf8")))
  .join("\n");

function isServed(metric: string): boolean {
  const short = metric.replace(/^statemesh_(arbiter_)?/, "");
  return [`"${metric}"`, `"${metric.replace(/^statemesh_/, "")}"`, `"${short}"`].some((text) => served.includes(text));
}

function metricsIn(expr: string): string[] {
  return [...new Set(expr.match(/statemesh_[a-z0-9_]+/g) ?? [])];
}

const { groups } = parse(readFileSync(join(ROOT, "deploy/prometheus/alerts.yaml"), "utf8")) as { groups: { name: string; rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);

test.each(rules.map((rule): [string, Rule] => [rule.alert, rule]))("the alert %s asks for metrics that are served, and says what to do", (_, { expr, labels, annotations }) => {
  expect(metricsIn(expr).length).toBeGreaterThan(0);
  expect(metricsIn(expr).filter((metric) => !isServed(metric))).toEqual([]);
  expect(["warning", "critical"]).toContain(labels.severity);
  for (const text of [annotations.summary, annotations.description]) expect(text.length).toBeGreaterThan(10);
});

test("alerts have names of their own, and each is in the operations page", () => {
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  const page = readFileSync(join(ROOT, "docs/operations.md"), "utf8");
  expect(rules.map(({ alert }) => alert).filter((alert) => !page.includes(alert))).toEqual([]);
});

test("the dashboard's panels ask for metrics that are served, each in a place of its own", () => {
  const { panels } = JSON.parse(readFileSync(join(ROOT, "deploy/grafana/partitions.json"), "utf8")) as { panels: Panel[] };
  expect(panels.length).toBeGreaterThan(0);
  expect(panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => metricsIn(expr))).filter((metric) => !isServed(metric))).toEqual([]);
  expect(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size).toBe(panels.length);
});
