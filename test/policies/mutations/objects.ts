import type { Resource } from "../../../policies/facts/stack.ts";
import type { Mutation } from "../mutation.ts";

/* eslint-disable @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes */

type Change = Mutation["change"];

/** Changes the spec of an object. */
export const spec =
  (kind: string, name: string, change: (spec: any) => void): Change =>
  (stack) =>
    change(stack.object(kind, name)["spec"]);

/** Changes the spec of the pods that an object makes. */
export const pod = (kind: string, name: string, change: (spec: any) => void): Change =>
  spec(kind, name, ({ template }) => change(template.spec));
export const edgePod = (change: (spec: any) => void): Change => pod("Deployment", "edge", change);
export const databasePod = (change: (spec: any) => void): Change => pod("StatefulSet", "postgresql-beijing", change);

/** Adds a copy of an object, changed, and of another type where one is given. */
export const added =
  (kind: string, name: string, change: (props: Resource["props"]) => void, type?: string): Change =>
  (stack) => {
    const copy = structuredClone(stack.registered(kind, name));
    change(copy.inputs);
    const named = `${copy.name}-added`;
    stack.resources.push({
      ...copy,
      name: named,
      urn: copy.urn.replace(/[^:]+$/, named),
      ...(type === undefined ? {} : { type }),
    });
  };
