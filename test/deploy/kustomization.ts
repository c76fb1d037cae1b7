// Renders the project's kustomizations with the few features that they use, on machines without kubectl too. Where
// kubectl is there, a test holds the two renderings against each other.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";

/** A Kubernetes object as rendered. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
}

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type Mapping = { [key: string]: Json };

interface Kustomization {
  readonly namespace?: string;
  readonly resources?: readonly string[];
  readonly images?: readonly { readonly name: string; readonly newTag: string }[];
  readonly replicas?: readonly { readonly name: string; readonly count: number }[];
  readonly patches?: readonly { readonly target: { readonly kind: string; readonly name: string }; readonly patch: string }[];
}

const KNOWN_KEYS = ["apiVersion", "kind", "namespace", "resources", "images", "replicas", "patches"];

/** Objects of a folder with a kustomization.yaml, in no promised order. */
export function render(folder: string): KubernetesObject[] {
  return renderFolder(folder) as unknown as KubernetesObject[];
}

function renderFolder(folder: string): Mapping[] {
  const file = join(folder, "kustomization.yaml");
  const kustomization = parse(readFileSync(file, "utf8")) as Kustomization;
  const unknown = Object.keys(kustomization).filter((key) => !KNOWN_KEYS.includes(key));
  if (unknown.length > 0) throw new Error(`${file}: ${unknown.join(", ")}: not rendered here; teach test/deploy/kustomization.ts`);
  const objects = (kustomization.resources ?? []).flatMap((resource) => {
    const path = join(folder, resource);
    return statSync(path).isDirectory() ? renderFolder(path) : parseObjects(readFileSync(path, "utf8"));
  });
  for (const { target, patch } of kustomization.patches ?? []) {
    const found = objects.filter((object) => object["kind"] === target.kind && at(object, ["metadata", "name"]) === target.name);
    if (found.length === 0) throw new Error(`${file}: no ${target.kind} ${target.name} to patch`);
    for (const object of found) applyPatch(object, patch);
  }
  for (const object of objects) transform(object, kustomization);
  return objects;
}

/** The objects of a file or of kubectl's output. */
export function parseObjects(text: string): Mapping[] {
  return parseAllDocuments(text, { merge: true }).map((document) => {
    const problem = document.errors[0];
    if (problem !== undefined) throw problem;
    return document.toJS() as Mapping;
  });
}

function transform(object: Mapping, kustomization: Kustomization): void {
  const metadata = object["metadata"] as Mapping;
  if (kustomization.namespace !== undefined) {
    if (object["kind"] === "Namespace") metadata["name"] = kustomization.namespace;
    else metadata["namespace"] = kustomization.namespace;
  }
  const spec = object["spec"];
  if (object["kind"] !== "Deployment" && object["kind"] !== "StatefulSet") return;
  const count = kustomization.replicas?.find(({ name }) => name === metadata["name"])?.count;
  if (count !== undefined) (spec as Mapping)["replicas"] = count;
  for (const container of at(object, ["spec", "template", "spec", "containers"]) as Mapping[]) {
    const image = kustomization.images?.find(({ name }) => name === container["image"]);
    if (image !== undefined) container["image"] = `${image.name}:${image.newTag}`;
  }
}

function applyPatch(object: Mapping, patch: string): void {
  for (const { op, path, value } of parse(patch) as { op: string; path: string; value: Json }[]) {
    const keys = path.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop() ?? "";
    const parent = at(object, keys) as Mapping;
    if (op !== "add" && op !== "replace") throw new Error(`patch: ${op} is not rendered here`);
    if (op === "replace" && !(last in parent)) throw new Error(`patch: ${path} is not there to replace`);
    parent[last] = value;
  }
}

function at(object: Json, keys: readonly string[]): Json {
  let value = object;
  for (const key of keys) {
    const next = (value as Mapping | null)?.[key];
    if (next === undefined) throw new Error(`${keys.join("/")} is not there`);
    value = next;
  }
  return value;
}
