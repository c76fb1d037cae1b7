import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Container, Probe } from "kubernetes-types/core/v1.d.ts";
import { expect, test } from "vitest";
import { environmentOf, loadConfiguration } from "@statemesh/service";
import { PROGRAMS } from "../../tools/programs.ts";
import { ROOT, runTool } from "../../tools/step.ts";
import { type KubernetesObject, parseObjects, render } from "./kustomization.ts";
import { environment, Manifests, nameOf, OVERLAYS, overlayFolder, podLabels, podOf, selects } from "./manifests.ts";

/** TypeScript type of each apiVersion and kind: a field that does not exist or has another type does not compile. */
const TYPES: Readonly<Record<string, string>> = {
  "v1 Namespace": 'import("kubernetes-types/core/v1.d.ts").Namespace',
  "v1 Secret": 'import("kubernetes-types/core/v1.d.ts").Secret',
  "v1 Service": 'import("kubernetes-types/core/v1.d.ts").Service',
  "v1 ServiceAccount": 'import("kubernetes-types/core/v1.d.ts").ServiceAccount',
  "apps/v1 Deployment": 'import("kubernetes-types/apps/v1.d.ts").Deployment',
  "apps/v1 StatefulSet": 'import("kubernetes-types/apps/v1.d.ts").StatefulSet',
  "networking.k8s.io/v1 NetworkPolicy": 'import("kubernetes-types/networking/v1.d.ts").NetworkPolicy',
  "policy/v1 PodDisruptionBudget": 'import("kubernetes-types/policy/v1.d.ts").PodDisruptionBudget',
};

/** Complaints of the compiler about objects. */
function complaints(objects: readonly KubernetesObject[]): string {
  const cache = join(ROOT, "test", "deploy", ".cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "objects-"));
  try {
    const lines = objects.map((object, index) => {
      const type = TYPES[`${object.apiVersion} ${object.kind}`];
      if (type === undefined) throw new Error(`${object.apiVersion} ${object.kind} ${object.metadata.name}: no type for it here`);
      return `export const object${index}: ${type} = ${JSON.stringify(object)};`;
    });
    writeFileSync(join(folder, "objects.ts"), lines.join("\n"));
    const { ok, output } = runTool("tsc", ["--ignoreConfig", "--noEmit", "--allowImportingTsExtensions", "--strict", "--module", "nodenext", "--skipLibCheck", "--types", "", join(folder, "objects.ts")]);
    return ok ? "" : output || "the compiler failed";
  } finally {
    rmSync(cache, { recursive: true });
  }
}

const sorted = (objects: readonly KubernetesObject[]): KubernetesObject[] => objects.toSorted((a, b) => `${a.kind} ${a.metadata.name}`.localeCompare(`${b.kind} ${b.metadata.name}`));

test("kubectl, where it is there, renders what the tests render", () => {
  const version = spawnSync("kubectl", ["version", "--client"], { encoding: "utf8" });
  // Without kubectl the renderer of the tests stands alone; with a kubectl every overlay is compared.
  const usable = version.status === 0 && !/v1\.(\d|1\d|2[0-5])\./.test(version.stdout);
  for (const overlay of OVERLAYS) {
    const rendered = render(overlayFolder(overlay));
    expect(rendered.length).toBeGreaterThan(10);
    if (!usable) continue;
    const { status, stdout, stderr } = spawnSync("kubectl", ["kustomize", overlayFolder(overlay)], { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(sorted(rendered)).toEqual(sorted(parseObjects(stdout) as unknown as KubernetesObject[]));
  }
});

test("a field that Kubernetes does not have would be found", () => {
  const wrong = { apiVersion: "v1", kind: "Service", metadata: { name: "x" }, spec: { selectors: {} } };
  expect(complaints([wrong])).toContain("selectors");
});

for (const overlay of OVERLAYS) {
  const manifests = new Manifests(overlay);
  const containers = manifests.workloads().flatMap((workload) => podOf(workload).containers.map((container) => ({ workload, container })));

  test(`${overlay}: every field exists in Kubernetes and has its type`, () => {
    expect(complaints(manifests.objects)).toBe("");
  });

  test(`${overlay}: every object has its name once, and all but the namespace are in it`, () => {
    const names = manifests.objects.map((object) => `${object.kind} ${object.metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const object of manifests.objects) expect([object.kind, object.kind === "Namespace" ? undefined : "statemesh"]).toEqual([object.kind, object.metadata.namespace]);
  });

  test(`${overlay}: workloads select their own pods, and every selector finds a pod`, () => {
    const pods = manifests.workloads().map(podLabels);
    for (const workload of manifests.workloads()) expect(selects(workload.spec?.selector.matchLabels, podLabels(workload))).toBe(true);
    for (const service of manifests.ofKind("Service")) expect(pods.filter((labels) => selects(service.spec?.selector, labels)), nameOf(service)).toHaveLength(1);
    for (const budget of manifests.ofKind("PodDisruptionBudget")) expect(pods.filter((labels) => selects(budget.spec?.selector?.matchLabels, labels)), nameOf(budget)).toHaveLength(1);
    for (const policy of manifests.ofKind("NetworkPolicy")) expect(pods.some((labels) => selects(policy.spec?.podSelector?.matchLabels, labels)), nameOf(policy)).toBe(true);
    for (const workload of manifests.workloads()) {
      for (const constraint of podOf(workload).topologySpreadConstraints ?? []) expect(selects(constraint.labelSelector?.matchLabels, podLabels(workload))).toBe(true);
    }
  });

  test(`${overlay}: ports of services, probes and policies are ports of containers`, () => {
    for (const service of manifests.ofKind("Service")) {
      const ports = manifests.workloads().filter((workload) => selects(service.spec?.selector, podLabels(workload))).flatMap((workload) => podOf(workload).containers.flatMap((container) => container.ports ?? []));
      for (const port of service.spec?.ports ?? []) {
        const target = ports.find((each) => each.name === port.targetPort);
        expect(port.name).toBeTruthy();
        expect(target?.containerPort, `${nameOf(service)} ${port.name}`).toBe(port.port);
      }
    }
    for (const { container } of containers) {
      expect(container.readinessProbe, container.name).toBeDefined();
      for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
        if (probe !== undefined) expect(portOfProbe(probe, container), container.name).toBe(true);
      }
    }
    const known = new Set(containers.flatMap(({ container }) => (container.ports ?? []).flatMap((port): (string | number)[] => [port.containerPort, port.name ?? ""])));
    const outside = [53, 5432, 26257, 6379];
    for (const policy of manifests.ofKind("NetworkPolicy")) {
      for (const { port } of [...(policy.spec?.ingress ?? []), ...(policy.spec?.egress ?? [])].flatMap((rule) => rule.ports ?? [])) {
        expect(known.has(port ?? "") || outside.includes(Number(port)), `${nameOf(policy)} ${port}`).toBe(true);
      }
    }
  });

  test(`${overlay}: our services are probed by gRPC health, liveness apart from readiness`, () => {
    for (const workload of manifests.services()) {
      const [container] = podOf(workload).containers;
      expect(container?.startupProbe?.grpc?.service).toBe("liveness");
      expect(container?.livenessProbe?.grpc?.service).toBe("liveness");
      expect(container?.readinessProbe?.grpc).toEqual({ port: container?.ports?.find((port) => port.name === "grpc")?.containerPort });
    }
  });

  test(`${overlay}: pods may do nothing that they do not need`, () => {
    for (const { workload, container } of containers) {
      const pod = podOf(workload);
      expect(pod.automountServiceAccountToken, nameOf(workload)).toBe(false);
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      expect(pod.securityContext?.runAsUser).toBeGreaterThan(0);
      expect(container.securityContext).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } });
      expect(container.resources?.requests?.["cpu"]).toBeDefined();
      expect(container.resources?.requests?.["memory"]).toBeDefined();
      expect(container.resources?.limits?.["memory"]).toBeDefined();
      expect(container.image).toMatch(/^[a-z0-9./-]+:[a-z0-9.-]+$/);
      expect(container.image).not.toMatch(/:latest$/);
      const volumes = [...(pod.volumes ?? []).map((volume) => volume.name), ...("volumeClaimTemplates" in (workload.spec ?? {}) ? ["data"] : [])];
      for (const mount of container.volumeMounts ?? []) expect(volumes, `${container.name} ${mount.mountPath}`).toContain(mount.name);
    }
    const accounts = manifests.ofKind("ServiceAccount");
    for (const account of accounts) expect(account.automountServiceAccountToken).toBe(false);
    for (const workload of manifests.services()) expect(accounts.map(nameOf)).toContain(podOf(workload).serviceAccountName);
  });

  test(`${overlay}: the services take the configuration that they are given`, () => {
    expect(manifests.services().map(nameOf).toSorted()).toEqual(Object.keys(PROGRAMS).toSorted());
    for (const workload of manifests.services()) {
      const program = PROGRAMS[nameOf(workload)];
      const [container] = podOf(workload).containers;
      if (program === undefined || container === undefined) throw new Error(`${nameOf(workload)} is no service`);
      const known = Object.keys(program.options).map(environmentOf);
      const given = environment(container);
      for (const name of Object.keys(given).filter((each) => each.startsWith("STATEMESH_"))) expect(known, `${nameOf(workload)} ${name}`).toContain(name);
      const secrets: Record<string, string> = { STATEMESH_DATABASE_URL: "postgresql://u@h:1/d", STATEMESH_REDIS_URL: "redis://h:1" };
      const config = loadConfiguration(program, [], { ...given, ...Object.fromEntries(Object.entries(secrets).filter(([name]) => name in given)) }) as Readonly<Record<string, unknown>>;
      expect(String(config["listenAddress"]).endsWith(`:${container.ports?.find((port) => port.name === "grpc")?.containerPort}`)).toBe(true);
      expect(String(config["metricsAddress"]).endsWith(`:${container.ports?.find((port) => port.name === "metrics")?.containerPort}`)).toBe(true);
      const graceMs = (podOf(workload).terminationGracePeriodSeconds ?? 0) * 1000;
      expect(graceMs).toBeGreaterThan(Number(config["drainDelayMs"]) + Number(config["shutdownLimitMs"]));
    }
  });

  test(`${overlay}: the nodes that found the cluster are told of one another, and where further ones ask to be taken in`, () => {
    const [nodes] = manifests.ofKind("StatefulSet").filter((set) => nameOf(set) === "consensus-node");
    const given = environment(nodes === undefined ? { name: "" } : (podOf(nodes).containers[0] ?? { name: "" }));
    const peers = given["STATEMESH_PEERS"];
    const service = nodes?.spec?.serviceName;
    const expected = Array.from({ length: nodes?.spec?.replicas ?? 0 }, (_, index) => `${index + 1}=consensus-node-${index}.${service}:7401`);
    expect(peers?.split(",")).toEqual(expected);
    expect(`1=${given["STATEMESH_ADVERTISE_ADDRESS"]}`).toBe(expected[0]);
    expect(manifests.ofKind("Service").map((each) => `${nameOf(each)}:7401`)).toContain(given["STATEMESH_JOIN"]);
    expect(nodes?.spec?.podManagementPolicy).toBe("Parallel");
    const headless = manifests.ofKind("Service").find((each) => nameOf(each) === service);
    expect(headless?.spec).toMatchObject({ clusterIP: "None", publishNotReadyAddresses: true });
    const budget = manifests.ofKind("PodDisruptionBudget").find((each) => nameOf(each) === "consensus-node");
    expect(budget?.spec?.maxUnavailable).toBe(1);
  });

  test(`${overlay}: addresses in the configuration are services with that port`, () => {
    const ports = new Set<string>(manifests.ofKind("Service").flatMap((service) => (service.spec?.ports ?? []).map((port) => `${nameOf(service)}:${port.port}`)));
    for (const workload of manifests.services()) {
      const given = environment(podOf(workload).containers[0] ?? { name: "" });
      for (const name of ["STATEMESH_ARBITER_ADDRESS", "STATEMESH_REGION_STORE_ADDRESS"]) {
        const value = given[name];
        if (value !== undefined) expect(ports.has(value), `${name} ${value}`).toBe(true);
      }
    }
  });
}

function portOfProbe(probe: Probe, container: Container): boolean {
  const port = probe.grpc?.port ?? probe.httpGet?.port ?? probe.tcpSocket?.port;
  return (container.ports ?? []).some((each) => each.containerPort === port || each.name === port);
}
