import { join } from "node:path";
import type { Deployment, StatefulSet } from "kubernetes-types/apps/v1.d.ts";
import type { Container, PodSpec, Service, ServiceAccount } from "kubernetes-types/core/v1.d.ts";
import type { NetworkPolicy } from "kubernetes-types/networking/v1.d.ts";
import type { PodDisruptionBudget } from "kubernetes-types/policy/v1.d.ts";
import { ROOT } from "../../tools/step.ts";
import { type KubernetesObject, render } from "./kustomization.ts";

export const OVERLAYS: readonly string[] = ["local", "production"];

export function overlayFolder(overlay: string): string {
  return join(ROOT, "deploy", "kubernetes", "overlays", overlay);
}

/** Kinds that the manifests use, with their types. */
interface Kinds {
  readonly Deployment: Deployment;
  readonly StatefulSet: StatefulSet;
  readonly Service: Service;
  readonly ServiceAccount: ServiceAccount;
  readonly NetworkPolicy: NetworkPolicy;
  readonly PodDisruptionBudget: PodDisruptionBudget;
}

/** An overlay's objects, by kind. */
export class Manifests {
  readonly objects: readonly KubernetesObject[];

  constructor(overlay: string) {
    this.objects = render(overlayFolder(overlay));
  }

  ofKind<K extends keyof Kinds>(kind: K): Kinds[K][] {
    return this.objects.filter((object) => object.kind === kind) as unknown as Kinds[K][];
  }

  workloads(): (Deployment | StatefulSet)[] {
    return [...this.ofKind("Deployment"), ...this.ofKind("StatefulSet")];
  }

  /** The workloads that run our services. */
  services(): (Deployment | StatefulSet)[] {
    return this.workloads().filter((workload) => workload.metadata?.labels?.["app.kubernetes.io/part-of"] === "statemesh");
  }
}

export function podOf(workload: Deployment | StatefulSet): PodSpec {
  const pod = workload.spec?.template.spec;
  if (pod === undefined) throw new Error(`${nameOf(workload)} has no pod`);
  return pod;
}

export function podLabels(workload: Deployment | StatefulSet): Readonly<Record<string, string>> {
  return workload.spec?.template.metadata?.labels ?? {};
}

export function nameOf(object: { readonly metadata?: { readonly name?: string } }): string {
  return object.metadata?.name ?? "";
}

export function environment(container: Container): Readonly<Record<string, string | undefined>> {
  const given: Record<string, string | undefined> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    // As the first pod of the workload sees it.
    const own = valueFrom?.fieldRef?.fieldPath === "metadata.name" ? `${container.name}-0` : undefined;
    given[name] = value?.replace(/\$\(([A-Z_]+)\)/g, (_, other: string) => given[other] ?? "") ?? own;
  }
  return given;
}

/** Whether labels are what a selector asks for. An empty selector asks for nothing. */
export function selects(selector: Readonly<Record<string, string>> | undefined, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value);
}
