// C# messages as protoc makes them, and the code of the guide for engines compiled with them by Mono's compiler. What NuGet packages bring is declared by hand
// (examples/csharp/check), as Debian has none of it: names and types of the contract are what this checks.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { csharpCompiler, protoc } from "../../tools/grpc-languages.ts";
import { ROOT } from "../../tools/step.ts";
import { runPlain } from "./installed-sdk.ts";

let stubs = "";
let compiler = "";

beforeAll(async () => {
  stubs = mkdtempSync(join(tmpdir(), "statemesh-csharp-"));
  const program = await protoc();
  compiler = await csharpCompiler();
  const files = ["statemesh/v1", "google/rpc"].flatMap((folder) => readdirSync(join(ROOT, "proto", folder)).map((file) => join(ROOT, "proto", folder, file)));
  const { status, output } = await runPlain(stubs, program, ["--csharp_out=.", `--proto_path=${join(ROOT, "proto")}`, ...files], 60_000);
  expect(output).toBe("");
  expect(status).toBe(0);
}, 300_000);

afterAll(() => rmSync(stubs, { recursive: true, force: true }));

test("the node of examples/csharp compiles against the contract without a warning", async () => {
  const sources = ["examples/csharp/MeshNode.cs", "examples/csharp/check/Declarations.cs", ...readdirSync(stubs).map((file) => join(stubs, file))];
  // The compiler puts a new file in the place of its target, a device too. Stubs in the form for compilers that know no ref structs.
  const { status, output } = await runPlain(ROOT, compiler, ["-target:library", `-out:${join(stubs, "checked.dll")}`, "-langversion:7.2", "-warnaserror", "-define:GOOGLE_PROTOBUF_REFSTRUCT_COMPATIBILITY_MODE", ...sources], 120_000);
  expect(output).toBe("");
  expect(status).toBe(0);
});
