import analyzer from "@pulumi/pulumi/proto/analyzer_pb.js";
import type { AnalyzerProviderResource, AnalyzerResource, AnalyzeRequest } from "@pulumi/pulumi/proto/analyzer_pb.js";
import protobuf, { type JavaScriptValue, type Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import { SECRET, SIGNATURE, type RegisteredResource } from "../render/collect.ts";

/** What is told of the provider of a resource. */
export type Provider = Pick<RegisteredResource, "urn" | "type" | "name" | "inputs" | "secretPaths">;

type Paths = readonly (readonly string[])[];

/** A resource's properties as the engine writes them to an analyzer: secrets are marked, unknown values stay what they
 *  are, and keys that providers keep for themselves (`__…`) are left out where `internal` is false. */
export function toWire(
  props: Readonly<Record<string, unknown>>,
  secretPaths: Paths,
  { internal = false }: { internal?: boolean } = {},
): Record<string, unknown> {
  const kept = Object.entries(props).filter(([key]) => internal || !key.startsWith("__"));
  return wrapped(Object.fromEntries(kept), secretPaths) as Record<string, unknown>;
}

function wrapped(value: unknown, paths: Paths): unknown {
  const below = (key: string) => paths.filter((path) => path[0] === key).map((path) => path.slice(1));
  if (paths.some((path) => path.length === 0)) {
    const inner = paths.filter((path) => path.length > 0);
    return { [SIGNATURE]: SECRET, value: wrapped(value, inner) };
  }
  if (Array.isArray(value))
    return value.map((item, i) => (item === undefined ? null : wrapped(item, below(String(i)))));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, wrapped(item, below(key))]),
  );
}

export function toStruct(props: Readonly<Record<string, unknown>>): Struct {
  return protobuf.Struct.fromJavaScript(props as Record<string, JavaScriptValue>);
}

/** The request in which the engine sends one resource. */
export function analyzeRequest(
  resource: RegisteredResource,
  provider: Provider | undefined,
  options: { internal?: boolean } = {},
): AnalyzeRequest {
  const request = new analyzer.AnalyzeRequest();
  fill(request, resource, provider, options);
  return request;
}

/** A resource in the request in which the engine sends all of them. */
export function stackResource(resource: RegisteredResource, provider: Provider | undefined): AnalyzerResource {
  const message = new analyzer.AnalyzerResource();
  fill(message, resource, provider, {});
  message.setParent(resource.parent);
  message.setDependenciesList([...resource.dependencies]);
  return message;
}

function fill(
  message: AnalyzeRequest | AnalyzerResource,
  resource: RegisteredResource,
  provider: Provider | undefined,
  options: { internal?: boolean },
): void {
  message.setUrn(resource.urn);
  message.setType(resource.type);
  message.setName(resource.name);
  message.setProperties(toStruct(toWire(resource.inputs, resource.secretPaths, options)));
  const opts = new analyzer.AnalyzerResourceOptions();
  opts.setProtect(resource.protect);
  opts.setIgnorechangesList([...resource.ignoreChanges]);
  opts.setParent(resource.parent);
  opts.setDeletebeforereplace(resource.deleteBeforeReplace ?? false);
  opts.setDeletebeforereplacedefined(resource.deleteBeforeReplace !== undefined);
  opts.setCustomtimeouts(new analyzer.AnalyzerResourceOptions.CustomTimeouts());
  message.setOptions(opts);
  if (provider) message.setProvider(providerMessage(provider));
}

function providerMessage(provider: Provider): AnalyzerProviderResource {
  const message = new analyzer.AnalyzerProviderResource();
  message.setUrn(provider.urn);
  message.setType(provider.type);
  message.setName(provider.name);
  message.setProperties(toStruct(toWire(provider.inputs, provider.secretPaths)));
  return message;
}

/** Finds the provider that a resource names (`urn::id`); undefined where it names none, as providers do. Of one that is
 *  not among the resources no more is known than its name. */
export function providersOf(
  resources: readonly RegisteredResource[],
): (resource: RegisteredResource) => Provider | undefined {
  const byUrn = new Map(resources.map((resource) => [resource.urn, resource]));
  return ({ provider }) => {
    if (provider === "") return undefined;
    const urn = provider.slice(0, provider.lastIndexOf("::"));
    const [, , types = "", ...name] = urn.split("::");
    return (
      byUrn.get(urn) ?? { urn, type: types.split("$").at(-1)!, name: name.join("::"), inputs: {}, secretPaths: [] }
    );
  };
}
