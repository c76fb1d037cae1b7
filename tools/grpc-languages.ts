// What other languages need to talk to the mesh: protoc with gRPC's plugins, and Python with gRPC.
import { existsSync } from "node:fs";
import { debianProgram, onPath, orInstalled, run } from "./debian-package.ts";
import { runTool } from "./step.ts";

const PLUGINS = ["protobuf-compiler", "protobuf-compiler-grpc"] as const;

/** A Python 3 that has gRPC and protobuf: the one on PATH, or Debian's. */
export async function pythonWithGrpc(): Promise<string> {
  const find = async (): Promise<string | undefined> => {
    for (const python of [onPath("python3"), "/usr/bin/python3"]) {
      if (python !== undefined && existsSync(python) && (await run(python, ["-c", "import grpc, google.protobuf"])).code === 0) return python;
    }
    return undefined;
  };
  return await orInstalled("Python 3 with grpcio and protobuf", find, ["python3-grpcio", "python3-protobuf"]);
}

/** A C++ compiler that finds the headers of gRPC and protobuf. */
export async function cppWithGrpc(): Promise<string> {
  const packages = ["g++", "libgrpc++-dev", "libprotobuf-dev"] as const;
  const compiler = await debianProgram(["g++", "clang++"], packages);
  const find = async (): Promise<string | undefined> => ((await run(compiler, ["-fsyntax-only", "-include", "grpc/grpc.h", "-include", "google/protobuf/port.h", "-xc++", "/dev/null"])).code === 0 ? compiler : undefined);
  return await orInstalled("headers of gRPC and protobuf for C++", find, packages);
}

/** Mono's C# compiler with the libraries that it needs. */
export async function csharpCompiler(): Promise<string> {
  return await debianProgram(["mcs"], ["mono-mcs", "libmono-system-core4.0-cil"]);
}

/** The compiler of protobuf. */
export async function protoc(): Promise<string> {
  return await debianProgram(["protoc"], PLUGINS);
}

/** Generates stubs by one of examples/stubs into a folder, with `more` arguments for buf. */
export async function generateStubs(language: "python" | "cpp", target: string): Promise<void> {
  await protoc();
  await debianProgram([`grpc_${language}_plugin`], PLUGINS);
  const paths = ["statemesh/v1", "google/rpc"].flatMap((path) => ["--path", `proto/${path}`]);
  const { ok, output } = runTool("buf", ["generate", "--template", `examples/stubs/${language}.gen.yaml`, ...paths, "--output", target]);
  if (!ok) throw new Error(`buf generate for ${language}: ${output}`);
}
