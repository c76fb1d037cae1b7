// C++ stubs from the template, and the code of the guide for engines compiled against them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cppWithGrpc, generateStubs } from "../../tools/grpc-languages.ts";
import { ROOT } from "../../tools/step.ts";
import { runPlain } from "./installed-sdk.ts";

let stubs = "";
let compiler = "";

beforeAll(async () => {
  stubs = mkdtempSync(join(tmpdir(), "statemesh-cpp-"));
  compiler = await cppWithGrpc();
  await generateStubs("cpp", stubs);
}, 300_000);

afterAll(() => rmSync(stubs, { recursive: true, force: true }));

test("the game loop of examples/cpp compiles against the contract without a warning", async () => {
  const { status, output } = await runPlain(ROOT, compiler, ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", stubs, "examples/cpp/hut.cc"], 240_000);
  expect(output).toBe("");
  expect(status).toBe(0);
});
