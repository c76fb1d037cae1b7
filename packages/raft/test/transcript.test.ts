import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TranscriptCluster } from "./transcript-cluster.ts";

/**
 * Each file of `transcripts` is a conversation: a command, `----`, what came of it. `UPDATE_TRANSCRIPTS=1` writes what
 * comes of it now; read the difference before keeping it.
 */
const folder = join(import.meta.dirname, "transcripts");

function replay(text: string): string {
  const cluster = new TranscriptCluster();
  const blocks = text.trim().split(/\n\n+/);
  return `${blocks.map((block) => replayBlock(cluster, block)).join("\n\n")}\n`;
}

/** A block is comments, then commands of which the last one's log (all that they say) follows `----`. */
function replayBlock(cluster: TranscriptCluster, block: string): string {
  const input = (block.split("\n----")[0] ?? "").split("\n");
  const commands = input.filter((line) => line !== "" && !line.startsWith("#"));
  if (commands.length === 0) return block;
  const output = commands.map((command) => cluster.run(command)).filter((said) => said !== "ok");
  return `${input.join("\n")}\n----\n${output.length === 0 ? "ok" : output.join("\n")}`;
}

for (const name of readdirSync(folder).sort()) {
  test(name.replace(".txt", "").replaceAll("-", " "), () => {
    const path = join(folder, name);
    const text = readFileSync(path, "utf8");
    const replayed = replay(text);
    if (process.env["UPDATE_TRANSCRIPTS"] === "1") writeFileSync(path, replayed);
    else expect(replayed).toBe(text);
  });
}
