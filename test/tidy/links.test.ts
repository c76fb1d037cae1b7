import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { projectFiles, ROOT } from "./project-files.ts";

/** Anchor of a heading, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(/\s/g, "-");
}

function anchors(file: string): string[] {
  return [...readFileSync(file, "utf8").matchAll(/^#{1,6} (.+)$/gm)].map((match) => anchorOf(match[1] ?? ""));
}

/** What is wrong with one link of a file; undefined where it points at something. */
function problem(path: string, link: string): string | undefined {
  const [target = "", anchor] = link.split("#");
  const file = target === "" ? join(ROOT, path) : normalize(join(ROOT, dirname(path), target));
  if (!existsSync(file)) return `${path}: ${link} is not there`;
  if (anchor === undefined || statSync(file).isDirectory() || !file.endsWith(".md")) return undefined;
  return anchors(file).includes(anchor) ? undefined : `${path}: ${link} has no such heading`;
}

test("every link between documents points at something", () => {
  const pages = projectFiles().filter(({ path }) => path.endsWith(".md"));
  expect(pages.length).toBeGreaterThan(0);
  const broken = pages.flatMap(({ path, text }) => {
    const prose = text.replaceAll(/^```[^]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "");
    return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1] ?? "")
      .filter((link) => !/^[a-z]+:/.test(link))
      .flatMap((link) => problem(path, link) ?? []);
  });
  expect(broken).toEqual([]);
});

test("a link into nowhere would be found", () => {
  expect(problem("CONTRIBUTING.md", "docs/not-there.md")).toContain("is not there");
  expect(problem("CONTRIBUTING.md", "CONTRIBUTING.md#no-such-heading")).toContain("no such heading");
});
