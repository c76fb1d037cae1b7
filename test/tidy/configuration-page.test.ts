import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CONFIGURATION_PAGE, configurationPage } from "../../tools/configuration-page.ts";
import { PROGRAMS } from "../../tools/programs.ts";
import { ROOT } from "./project-files.ts";

test("docs/configuration.md is what ./dev generate makes of the options", () => {
  expect(readFileSync(join(ROOT, CONFIGURATION_PAGE), "utf8")).toBe(configurationPage());
});

test("every service is on the page", () => {
  expect(Object.keys(PROGRAMS).toSorted()).toEqual(readdirSync(join(ROOT, "services")).toSorted());
  expect(Object.values(PROGRAMS).map((program) => program.name)).toEqual(Object.keys(PROGRAMS));
});
