import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { PORTS } from "../../tools/mesh-processes.ts";
import { PROGRAMS } from "../../tools/programs.ts";
import { ROOT } from "../../tools/step.ts";
import { Manifests, nameOf, podOf } from "./manifests.ts";

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

function defaultPort(program: string, option: string): number {
  return Number(String(PROGRAMS[program]?.options[option]?.definition.default).split(":").at(-1));
}

describe.each(Object.keys(PROGRAMS))("the default ports of %s", (program) => {
  const grpc = defaultPort(program, "listenAddress");
  const metrics = defaultPort(program, "metricsAddress");

  test("are those that ./dev up takes", () => {
    expect(new Map(Object.entries(PORTS)).get(program)).toEqual({ grpc, metrics });
  });

  test("are those of the operators' page", () => {
    expect(read("docs/operations.md")).toContain(`| ${program} | ${grpc} | ${metrics} |`);
  });

  test("are those of its image and its pods", () => {
    // Of docker-compose.yaml another test says that it agrees with the images.
    const stage = read("deploy/Dockerfile").split(/^FROM \S+ AS /m).find((text) => text.startsWith(`${program}\n`));
    expect(stage).toContain(`EXPOSE ${grpc} ${metrics}\n`);
    const workload = new Manifests("local").services().find((each) => nameOf(each) === program);
    const ports = workload === undefined ? [] : podOf(workload).containers.flatMap((container) => container.ports ?? []);
    expect(new Map(ports.map(({ name, containerPort }) => [name, containerPort]))).toEqual(new Map([["grpc", grpc], ["metrics", metrics]]));
  });
});
