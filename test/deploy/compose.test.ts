import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { environmentOf, loadConfiguration } from "@statemesh/service";
import { PROGRAMS } from "../../tools/programs.ts";
import { ROOT } from "../../tools/step.ts";

interface ComposeService {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly target: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const compose = parse(readFileSync(join(ROOT, "deploy/docker-compose.yaml"), "utf8"), { merge: true }) as Compose;
const dockerfile = readFileSync(join(ROOT, "deploy/Dockerfile"), "utf8");
const targets = [...dockerfile.matchAll(/^FROM \S+ AS (\S+)$/gm)].map((match) => match[1]);
const ours = Object.entries(compose.services).filter(([, service]) => service.build !== undefined);

function portOf(value: unknown): string {
  return String(value).split(":").at(-1) ?? "";
}

test("the images are built from the targets of the Dockerfile, one a service", () => {
  expect(targets).toEqual(expect.arrayContaining(Object.keys(PROGRAMS)));
  for (const [name, { build, image }] of ours) {
    expect(build).toEqual({ context: "..", dockerfile: "deploy/Dockerfile", target: image.replace(/^statemesh\/|:.*$/g, "") });
    expect(Object.keys(PROGRAMS), name).toContain(build?.target);
  }
  expect(new Set(ours.map(([, { build }]) => build?.target))).toEqual(new Set(Object.keys(PROGRAMS)));
});

test("the images run without root, and hold no package manager's leftovers", () => {
  expect(dockerfile).toMatch(/^USER 10001:10001$/m);
  expect(dockerfile).not.toMatch(/^ADD |curl|wget|apt-get/m);
});

test("the services take the configuration that they are given, and listen where the others call", () => {
  for (const [name, service] of ours) {
    const program = PROGRAMS[service.build?.target ?? ""];
    if (program === undefined) throw new Error(`${name} is no service`);
    const known = Object.keys(program.options).map(environmentOf);
    for (const variable of Object.keys(service.environment ?? {})) expect(known, `${name} ${variable}`).toContain(variable);
    const config = loadConfiguration(program, [], service.environment ?? {}) as Readonly<Record<string, unknown>>;
    const published = (service.ports ?? []).map((port) => port.split(":"));
    expect(published.map((port) => port[2]), name).toEqual([portOf(config["listenAddress"]), portOf(config["metricsAddress"])]);
    for (const port of published) expect(port[0], `${name} is not published beyond this machine`).toBe("127.0.0.1");
    expect(dockerfile).toContain(`EXPOSE ${portOf(config["listenAddress"])} ${portOf(config["metricsAddress"])}`);
    expect(service.healthcheck?.test.join(" "), name).toContain(`127.0.0.1:${portOf(config["metricsAddress"])}/readyz`);
  }
});

test("addresses name services of the file, with the port that they listen on", () => {
  const listening = new Set(["cockroach:26257", "redis:6379", ...ours.map(([name, service]) => `${name}:${portOf(service.environment?.["STATEMESH_LISTEN_ADDRESS"])}`)]);
  const called = ours.flatMap(([, { environment = {} }]) => [
    ...(environment["STATEMESH_PEERS"]?.split(",").map((peer) => peer.split("=")[1] ?? "") ?? []),
    ...["STATEMESH_ARBITER_ADDRESS", "STATEMESH_REGION_STORE_ADDRESS"].flatMap((name) => environment[name] ?? []),
    ...["STATEMESH_DATABASE_URL", "STATEMESH_REDIS_URL"].flatMap((name) => (environment[name] === undefined ? [] : [new URL(environment[name]).host])),
  ]);
  expect(called.length).toBeGreaterThan(10);
  expect(called.filter((address) => !listening.has(address))).toEqual([]);
});

test("every node has its own number, port on this machine and volume", () => {
  const nodes = ours.filter(([, service]) => service.build?.target === "consensus-node");
  const peers = nodes[0]?.[1].environment?.["STATEMESH_PEERS"]?.split(",") ?? [];
  expect(nodes.map(([name, service]) => `${service.environment?.["STATEMESH_NODE_ID"]}=${name}:7401`)).toEqual(peers);
  for (const pick of [(service: ComposeService) => service.ports?.[0], (service: ComposeService) => service.volumes?.[0]]) {
    expect(new Set(nodes.map(([, service]) => pick(service))).size).toBe(nodes.length);
  }
});

test("what is waited for has a health check, and volumes are declared", () => {
  for (const [name, service] of Object.entries(compose.services)) {
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(condition).toBe("service_healthy");
      expect(compose.services[other]?.healthcheck, `${name} waits for ${other}`).toBeDefined();
    }
    for (const volume of service.volumes ?? []) expect(Object.keys(compose.volumes)).toContain(volume.split(":")[0]);
    expect(service.image).toMatch(/^[a-z0-9./-]+:[a-z0-9.]+$/);
  }
  for (const [name, service] of ours) expect([name, service.read_only, service.cap_drop]).toEqual([name, true, ["ALL"]]);
});
