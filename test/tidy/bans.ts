/** A construct that the project does without, and what it does instead. */
export interface Ban {
  readonly name: string;
  /** Paths that the ban covers. */
  readonly files: RegExp;
  readonly pattern: RegExp;
  readonly instead: string;
  /** A line that the pattern must find: a ban that finds nothing is no ban. */
  readonly example: string;
  /** Files that may, each with its reason. */
  readonly except?: Readonly<Record<string, string>>;
}

const CODE = /\.(ts|cjs|mjs|js)$/;
const TEXT = /\.(ts|md|ya?ml|json|proto|sh|sql|cjs)$|^dev$|^\.ci\/|Dockerfile/;

export const BANS: readonly Ban[] = [
  { name: "words for unfinished work", files: TEXT, pattern: /\b(TODO|FIXME|XXX|HACK)\b/, instead: "finish it, or open an issue", example: "// TODO: later" },
  {
    name: "errors that vanish",
    files: CODE,
    pattern: /catch\s*(\([^)]*\))?\s*\{\s*\}|\.catch\(\s*\(\w*\)\s*=>\s*(\{\s*\}|undefined|null|void 0)\s*,?\s*\)/,
    instead: "answer it, count it, log it or throw it on; a comment in the block where it truly says nothing",
    example: "await close().catch(() => undefined);",
  },
  {
    name: "tests that do not run, or alone",
    files: /\.test\.ts$/,
    pattern: /\b(test|it|describe|suite)\.(only|skip|todo|fails|skipIf|runIf)\b|\b(context|task)\.skip\(/,
    instead: "a test that runs everywhere",
    example: 'test.skip("later", () => undefined);',
  },
  { name: "any", files: CODE, pattern: /:\s*any\s*([;,)=\]|&]|$)|\bas any\b|<any>|\bany\[\]/, instead: "unknown, or the type", example: "const x = y as any;" },
  {
    name: "comments that switch checks off",
    files: CODE,
    pattern: /@ts-(ignore|nocheck|expect-error)|(oxlint|eslint|biome|prettier)-(disable|ignore)/,
    instead: "code that passes the check",
    example: "// eslint-disable-next-line",
  },
  { name: "addresses of package registries", files: TEXT, pattern: /\bregistry\.(npmjs|yarnpkg|npmmirror)\b|\bnpm\.pkg\.github\b/, instead: "nothing: the client's configuration says where packages come from", example: "https://registry.npmjs.org/x" },
  { name: "paths of one machine", files: TEXT, pattern: /(^|[\s"'`(=])\/(home|Users|root|work|mnt)\/\w/, instead: "a path from the project's folder, or an option", example: 'const file = "/home/me/file";' },
  { name: "conflict markers", files: TEXT, pattern: /^(<{7}|>{7}) /, instead: "the merged text", example: "<<<<<<< HEAD" },
  { name: "trailing white space", files: TEXT, pattern: /[ \t]+$/, instead: "nothing", example: "x " },
  { name: "carriage returns and tabs", files: /\.(ts|md|ya?ml|json|proto)$/, pattern: /[\r\t]/, instead: "line feeds and spaces", example: "\tx" },
  { name: "default exports", files: /^(packages|services|tools|test)\/.*\.ts$/, pattern: /^export default\b/, instead: "a name", example: "export default class {}" },
  {
    name: "promise constructors that are async",
    files: CODE,
    pattern: /new Promise(<[^>]*>)?\(\s*async\b/,
    instead: "an async function",
    example: "new Promise(async (resolve) => resolve());",
  },
];

/** Names that say nothing about what is in a file or folder. */
export const EMPTY_NAMES = /(^|\/)(utils?|helpers?|commons?|managers?|misc|shared|stuff)(\.|\/|$)|-(utils?|helpers?|manager)(\.|\/|$)/i;

/** Hand-written files may have this many lines. */
export const LINES_MAX = 500;

/** Longer ones, each with its reason. */
export const LONG_FILES: Readonly<Record<string, string>> = {
  "packages/raft/src/raft-core.ts": "the protocol's state machine reads as one chapter: every transition beside the others",
};

/** Packages in more than one version, each with its reason. */
export const SEVERAL_VERSIONS: Readonly<Record<string, string>> = {
  typescript: "the compiler is 7, which has no interface for programs; typedoc reads the SDK with 6",
};
