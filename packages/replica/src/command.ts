import type { Command } from "@statemesh/contract/log";
import { MEMBERSHIP_VERSION } from "./versions.ts";

/** A command with the lowest version that can apply it. Commands are made here and nowhere else. */
export function commandOf(body: NonNullable<Command["command"]>): Command {
  return { command: body, format: body.$case === "membership" ? MEMBERSHIP_VERSION : 0 };
}
