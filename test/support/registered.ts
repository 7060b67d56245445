import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import type { RegisteredResource } from "../../scripts/render/collect.ts";

class AnyResource extends pulumi.CustomResource {}
class AnyProvider extends pulumi.ProviderResource {}

/** A program that registers the resources of a render as they are, changed or not: it lets the engine see what the
 *  project's own program would never make.
 *  @param file JSON, a list of RegisteredResource */
export function registerAll(file: string): void {
  const made = new Map<string, pulumi.Resource>();
  for (const resource of JSON.parse(readFileSync(file, "utf8")) as RegisteredResource[]) {
    // The engine's own.
    if (resource.type === "pulumi:pulumi:Stack") continue;
    made.set(resource.urn, register(resource, made));
  }
}

function register(resource: RegisteredResource, made: Map<string, pulumi.Resource>): pulumi.Resource {
  const { type, name, custom, inputs, secretPaths, ignoreChanges, deleteBeforeReplace } = resource;
  const parent = made.get(resource.parent);
  const shared = {
    protect: resource.protect,
    ...(parent ? { parent } : {}),
    dependsOn: resource.dependencies.flatMap((urn) => made.get(urn) ?? []),
  };
  if (!custom) return new pulumi.ComponentResource(type, name, {}, shared);
  const props = marked(inputs, secretPaths) as pulumi.Inputs;
  const options = {
    ...shared,
    retainOnDelete: resource.retainOnDelete,
    ignoreChanges: [...ignoreChanges],
    ...(deleteBeforeReplace === undefined ? {} : { deleteBeforeReplace }),
  };
  const [, kind, what] = type.split(":");
  if (type.startsWith("pulumi:") && kind === "providers") return new AnyProvider(what!, name, props, options);
  return new AnyResource(type, name, props, {
    ...options,
    ...(resource.provider === "" ? {} : { provider: providerOf(resource.provider, made) }),
  });
}

/** The provider of a reference (`urn::id`); one that the render does not have is made. */
function providerOf(reference: string, made: Map<string, pulumi.Resource>): pulumi.ProviderResource {
  const urn = reference.slice(0, reference.lastIndexOf("::"));
  const [, , types, name] = urn.split("::");
  const provider = made.get(urn) ?? new AnyProvider(types!.split(":").at(-1)!, name!);
  made.set(urn, provider);
  return provider as pulumi.ProviderResource;
}

/** The inputs with everything marked secret again that was. */
function marked(value: unknown, secretPaths: readonly (readonly string[])[]): unknown {
  if (secretPaths.some((path) => path.length === 0)) return pulumi.secret(value);
  if (secretPaths.length === 0 || typeof value !== "object" || value === null) return value;
  const below = (key: string) => secretPaths.filter(([first]) => first === key).map((path) => path.slice(1));
  if (Array.isArray(value)) return value.map((item, i) => marked(item, below(String(i))));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, marked(item, below(key))]));
}
