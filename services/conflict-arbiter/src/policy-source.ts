import { readFile } from "node:fs/promises";
import { DEFAULT_POLICY, parsePolicy, type Policy } from "@statemesh/world";

/**
 * The policy of a file, or the built-in one where none is named.
 *
 * @throws PolicyError with line and field; an error of the operating system where the file can't be read
 */
export async function readPolicy(file: string | undefined): Promise<Policy> {
  return file === undefined ? DEFAULT_POLICY : parsePolicy(await readFile(file, "utf8"), file);
}
