import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CONFIGURATION_PAGE, configurationPage } from "../../tools/configuration-page.ts";
import { ROOT } from "./project-files.ts";

test("docs/configuration.md is what ./dev generate makes of the options", async () => {
  expect(readFileSync(join(ROOT, CONFIGURATION_PAGE), "utf8")).toBe(await configurationPage());
});
