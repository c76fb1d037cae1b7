import { environmentOf, flagOf, type Program, showValue } from "./configuration.ts";
import type { OptionDefinition, OptionTable } from "./option.ts";

/** The options of one program as a section of markdown. */
export function configurationSection<T extends OptionTable>(program: Program<T>): string {
  const rows = Object.entries(program.options).map(([name, { definition }]) => row(name, definition));
  return [
    `## ${program.name}`,
    "",
    program.summary,
    "",
    "| flag | environment | default | allowed | same on every node | what it does |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function row(name: string, definition: OptionDefinition): string {
  const fallback = definition.default === undefined ? (definition.required === true ? "**required**" : "not set") : `\`${showValue(definition, definition.default)}\``;
  const allowed = `${definition.rule}${definition.unit === undefined ? "" : ` (${definition.unit})`}`;
  const doc = `${definition.doc}${definition.secret === true ? " Secret: never logged." : ""}`;
  const cells = [`\`${flagOf(name)}\``, `\`${environmentOf(name)}\``, fallback, allowed, definition.mustMatch === true ? "yes" : "no", doc];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
