import { join, posix } from "node:path";
import type { ProjectFile } from "./project-files.ts";

/** Packages in the order of their direction: each imports from earlier ones only. */
export const DIRECTION = ["contract", "merge", "world", "clocks", "conflict", "raft", "views", "replica", "ports", "wal", "mesh", "node", "checker", "store", "simulator", "service", "client"] as const;

/** Module specifiers of a file's imports and exports. */
export function specifiers(text: string): string[] {
  const statements = text.matchAll(/^\s*(?:import|export)\b(?:[^;"'`=]*?\bfrom)?\s*["']([^"']+)["']/gm);
  const calls = text.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g);
  return [...statements, ...calls].map((match) => match[1] ?? "");
}

/** `packages/raft` of `packages/raft/src/x.ts`; the first folder for what is no package or service. */
export function homeOf(path: string): string {
  const [first = "", second = ""] = path.split("/");
  return first === "packages" || first === "services" ? `${first}/${second}` : first;
}

/** Whether code of one home may import another. */
export function mayImport(from: string, to: string): boolean {
  if (from === to || from === "tools" || from === "test") return to !== "test" || from === "test" || from === "tools";
  if (to.startsWith("services/") || to === "tools" || to === "test") return false;
  if (from.startsWith("services/")) return true;
  const order = DIRECTION.map((name) => `packages/${name}`);
  return order.includes(to) && order.indexOf(to) < order.indexOf(from);
}

/** Imports that go against the direction, or past a package's door. */
export function wrongImports(file: ProjectFile): string[] {
  const from = homeOf(file.path);
  const isTest = /\/test\//.test(file.path) || from === "test";
  return specifiers(file.text).flatMap((specifier) => {
    const complaint = wrongImport(file.path, from, specifier, isTest);
    return complaint === undefined ? [] : [`${file.path}: ${specifier}: ${complaint}`];
  });
}

function wrongImport(path: string, from: string, specifier: string, isTest: boolean): string | undefined {
  if (specifier.startsWith("@statemesh/")) {
    const name = specifier.split("/")[1] ?? "";
    const to = DIRECTION.some((each) => each === name) ? `packages/${name}` : `services/${name}`;
    return mayImport(from, to) ? undefined : `${from} may not import ${to}`;
  }
  if (!specifier.startsWith(".")) return undefined;
  const to = homeOf(posix.normalize(join(posix.dirname(path), specifier)));
  if (to === from) return undefined;
  // Tests may use the project's tools and the test suites of earlier packages; nothing else goes past a package's exports.
  if (isTest && (to === "tools" || to === "test")) return undefined;
  if (isTest && specifier.includes("/test/") && mayImport(from, to)) return undefined;
  if (from === "test" || from === "tools") return to.startsWith("services/") || to === "tools" || to === "test" ? undefined : `import ${to} by its package name`;
  return `${from} may not reach into ${to}`;
}
