// What oxlint has no rule for. Each test names what to write instead.
import { expect, test } from "vitest";
import { BANS, EMPTY_NAMES, LINES_MAX, LONG_FILES, SEVERAL_VERSIONS } from "./bans.ts";
import { projectFiles } from "./project-files.ts";

const files = projectFiles();
const RULES_FILE = "test/tidy/bans.ts";

for (const ban of BANS) {
  test(`no ${ban.name}: ${ban.instead}`, () => {
    expect(ban.pattern.test(ban.example), "the ban finds its own example").toBe(true);
    const found = files
      .filter(({ path }) => ban.files.test(path) && path !== RULES_FILE && ban.except?.[path] === undefined && path !== "pnpm-lock.yaml")
      .flatMap(({ path, text }) =>
        text.split("\n").flatMap((line, index) => (ban.pattern.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 120)}`] : [])),
      );
    expect(found).toEqual([]);
  });
}

test("files and folders have names that say what is in them", () => {
  expect(files.map(({ path }) => path).filter((path) => EMPTY_NAMES.test(path))).toEqual([]);
});

test("TypeScript files have kebab-case names", () => {
  const odd = files.map(({ path }) => path).filter((path) => path.endsWith(".ts") && !/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.config|\.bench)?\.ts$/.test(path.slice(path.lastIndexOf("/") + 1)));
  expect(odd).toEqual([]);
});

test(`files have at most ${LINES_MAX} lines, unless a reason is written down`, () => {
  const long = files.filter(({ path, text }) => path.endsWith(".ts") && text.split("\n").length > LINES_MAX + 1).map(({ path }) => path);
  expect(long.filter((path) => LONG_FILES[path] === undefined)).toEqual([]);
  expect(Object.keys(LONG_FILES).filter((path) => !long.includes(path)), "reasons that are no longer needed").toEqual([]);
});

test("texts end with one line feed", () => {
  const odd = files.filter(({ path, text }) => /\.(ts|md|ya?ml|json|proto)$/.test(path) && text !== "" && (!text.endsWith("\n") || text.endsWith("\n\n")));
  expect(odd.map(({ path }) => path)).toEqual([]);
});

test("every dependency has one exact version", () => {
  const loose = files
    .filter(({ path }) => path.endsWith("package.json"))
    .flatMap(({ path, text }) => {
      const manifest = JSON.parse(text) as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
      return ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"].flatMap((kind) =>
        Object.entries(manifest[kind] ?? {})
          .filter(([, version]) => version !== "workspace:*" && !/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version))
          .map(([name, version]) => `${path}: ${name} ${version}`),
      );
    });
  expect(loose).toEqual([]);
});

test("one package has one version in the whole project", () => {
  const versions = new Map<string, Set<string>>();
  for (const { text } of files.filter((file) => file.path.endsWith("package.json"))) {
    const manifest = JSON.parse(text) as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
    for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
        versions.set(name, (versions.get(name) ?? new Set()).add(version));
      }
    }
  }
  expect([...versions].filter(([name, found]) => found.size > 1 && SEVERAL_VERSIONS[name] === undefined).map(([name, found]) => `${name}: ${[...found].join(", ")}`)).toEqual([]);
});

test("the lockfile says what to install, not from where", () => {
  const lock = files.find(({ path }) => path === "pnpm-lock.yaml")?.text ?? "";
  expect(lock.length).toBeGreaterThan(0);
  expect(lock.split("\n").filter((line) => /tarball:|https?:\/\//.test(line))).toEqual([]);
});

test("every decision has a number of its own, the one in its title", () => {
  const pages = files.filter(({ path }) => /^docs\/adr\/\d/.test(path) && !path.includes("0000-template"));
  const numbers = pages.map(({ path }) => path.slice("docs/adr/".length, "docs/adr/".length + 4));
  expect(new Set(numbers).size).toBe(numbers.length);
  expect(pages.filter(({ text }, index) => !text.startsWith(`# ${numbers[index]}: `)).map(({ path }) => path)).toEqual([]);
});
