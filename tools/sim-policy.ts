// ./dev sim --policy: a studio's policy file, checked before anything runs.
import { readFile } from "node:fs/promises";
import { parsePolicy, PolicyError } from "@statemesh/world";

/** Exit status for a policy that cannot be used. */
const UNUSABLE = 2;

export interface SimPolicy {
  readonly text: string;
  /** Names of the types that are the studio's own. */
  readonly ownTypes: readonly string[];
}

/** `fail` ends the process with a message. */
export async function policyForSim(file: string, tier: string | undefined, fail: (message: string, exitCode: number) => never): Promise<SimPolicy> {
  if (tier !== undefined && tier !== "mesh") return fail(`error: --policy goes with --tier mesh, not with ${tier}: no other tier has operations of types`, UNUSABLE);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    return fail(`error: --policy ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, UNUSABLE);
  }
  try {
    const ownTypes = parsePolicy(text, file).types().filter(({ builtIn }) => !builtIn);
    return { text, ownTypes: ownTypes.map(({ name }) => name) };
  } catch (error) {
    if (error instanceof PolicyError) return fail(error.message, UNUSABLE);
    throw error;
  }
}
