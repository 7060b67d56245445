import assert from "node:assert/strict";
import type { Resource } from "../../policies/facts/stack.ts";
import { isObject, kindOf, objectName } from "../../policies/facts/stack.ts";
import type { RegisteredResource } from "../../scripts/render/collect.ts";
import { renderStack } from "../../scripts/render/render.ts";
import { inTurn } from "../../scripts/start/each-region.ts";
import { overlaysForShow } from "../../scripts/local/values/show.ts";

const rendered = new Map<string, Promise<readonly RegisteredResource[]>>();
/** Pulumi's test runtime is one for the whole process: programs run in it one after the other. */
const turn = inTurn();

/** What the program registers for a region as it is in production, each time a copy that may be changed. */
export async function realStack(region: string, options: { preview?: boolean } = {}): Promise<RegisteredResource[]> {
  const key = JSON.stringify([region, options]);
  const render = () =>
    renderStack(region, {
      overlays: overlaysForShow(region, { embedded: false }),
      // Each its own, and no word: rules look for the values of Secrets in everything else.
      compute: (type, name) => (type.startsWith("random:") ? { result: `made-for-${name}` } : undefined),
      ...options,
    }).then(({ resources }) => resources);
  if (!rendered.has(key)) rendered.set(key, turn(render));
  return structuredClone(await rendered.get(key)!) as RegisteredResource[];
}

/** The resource as a rule is given it. */
export function asResource(registered: RegisteredResource): Resource {
  const { urn, type, name, inputs, protect, ignoreChanges, deleteBeforeReplace } = registered;
  return {
    urn,
    type,
    name,
    props: inputs,
    opts: {
      protect,
      ignoreChanges: [...ignoreChanges],
      ...(deleteBeforeReplace === undefined ? {} : { deleteBeforeReplace }),
    },
    provider: providerOf(registered.provider),
  };
}

/** What the engine says of a provider, from its reference (`urn::id`); undefined for none. */
function providerOf(reference: string): Resource["provider"] {
  if (reference === "") return undefined;
  const urn = reference.slice(0, reference.lastIndexOf("::"));
  const [, , type, name] = urn.split("::");
  return { urn, type: type!.split("$").at(-1)!, name: name! };
}

type Changeable = { -readonly [field in keyof RegisteredResource]: RegisteredResource[field] };

/** A stack that a test changes. */
export class ChangedStack {
  readonly resources: RegisteredResource[];

  constructor(resources: RegisteredResource[]) {
    this.resources = resources;
  }

  /** The registered resource of a Kubernetes object.
   *  @throws AssertionError when there is none: the mutation is out of date */
  registered(kind: string, name: string): Changeable {
    const found = this.resources.find((one) => {
      const resource = asResource(one);
      return isObject(resource, kind) && kindOf(resource) === kind && objectName(resource) === name;
    });
    assert.ok(found, `the stack has no ${kind}/${name}`);
    return found;
  }

  /** A Kubernetes object, to be changed in place. */
  object(kind: string, name: string): Resource["props"] {
    return this.registered(kind, name).inputs;
  }

  /** Takes an object out of the stack. */
  remove(kind: string, name: string): void {
    this.resources.splice(this.resources.indexOf(this.registered(kind, name)), 1);
  }

  /** Changes a file of a ConfigMap; the change must be one. */
  file(configMap: string, file: string, change: (text: string) => string): void {
    const data = this.object("ConfigMap", configMap)["data"] as Record<string, string>;
    assert.ok(data[file] !== undefined, `ConfigMap/${configMap} has no ${file}`);
    const changed = change(data[file]);
    assert.notEqual(changed, data[file], `${configMap} ${file}: the mutation changes nothing`);
    data[file] = changed;
  }

  /** Changes a JSON file of a ConfigMap. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes
  json(configMap: string, file: string, change: (value: any) => void): void {
    this.file(configMap, file, (text) => {
      const value: unknown = JSON.parse(text);
      change(value);
      return JSON.stringify(value, null, 2);
    });
  }
}
