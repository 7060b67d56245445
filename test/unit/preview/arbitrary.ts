import fc from "fast-check";
import type { KubernetesObject } from "../../../scripts/render/objects.ts";

const name = fc.stringMatching(/^[a-z]{1,3}$/);
const text = fc.stringMatching(/^[a-zA-Z0-9 .:|`<>@-]{0,8}$/);
const scalar = fc.oneof(text, fc.integer({ min: 0, max: 9 }), fc.boolean());
const map = <T>(value: fc.Arbitrary<T>) => fc.dictionary(name, value, { maxKeys: 3 });
const keyed = <T extends Record<string, unknown>>(item: fc.Arbitrary<T>, key: string) =>
  fc.uniqueArray(item, { minLength: 1, maxLength: 4, selector: (one) => one[key] });

const container = fc.record({
  name,
  image: text,
  args: fc.array(text, { minLength: 1, maxLength: 4 }),
  env: keyed(fc.record({ name, value: text }), "name"),
  ports: keyed(fc.record({ containerPort: fc.integer({ min: 1, max: 5 }), name }), "containerPort"),
  volumeMounts: keyed(fc.record({ name, mountPath: name, readOnly: fc.boolean() }), "mountPath"),
});

/** What a file says: any JSON, lists of maps with names among it. */
const fileValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 3 }),
    map(tie("value")),
    fc.array(fc.record({ name, size: scalar }), { maxLength: 3 }),
  ),
})).value;
const lines = fc.array(text, { maxLength: 6 }).map((all) => all.join("\n"));

const rule = fc.record({
  from: fc.array(fc.record({ podSelector: fc.record({ matchLabels: map(text) }) }), { minLength: 1, maxLength: 3 }),
  ports: fc.array(fc.record({ port: fc.integer({ min: 1, max: 3 }), protocol: fc.constantFrom("TCP", "UDP") }), {
    minLength: 1,
    maxLength: 3,
  }),
});

const body = {
  Deployment: fc.record({
    spec: fc.record({
      replicas: fc.integer({ min: 0, max: 5 }),
      selector: fc.record({ matchLabels: map(text) }),
      template: fc.record({
        spec: fc.record({
          containers: keyed(container, "name"),
          volumes: keyed(fc.record({ name, emptyDir: map(text) }), "name"),
        }),
      }),
    }),
  }),
  ConfigMap: fc.record({
    data: fc.record(
      {
        "a.json": map(fileValue).map((value) => JSON.stringify(value)),
        "b.yaml": map(fileValue).map((value) => JSON.stringify(value)),
        "c.conf": lines,
      },
      { requiredKeys: [] },
    ),
  }),
  NetworkPolicy: fc.record({
    spec: fc.record({
      policyTypes: fc.constant(["Ingress", "Egress"]),
      ingress: fc.array(rule, { minLength: 1, maxLength: 4 }),
    }),
  }),
  Service: fc.record({
    spec: fc.record({
      ports: keyed(fc.record({ port: fc.integer({ min: 1, max: 5 }), name, targetPort: scalar }), "port"),
      selector: map(text),
    }),
  }),
};

export type Kind = keyof typeof body;
export const KINDS = Object.keys(body) as Kind[];

/** Two or more versions of an object of the kind. */
export function versions(kind: Kind, count: number): fc.Arbitrary<KubernetesObject[]> {
  const one = fc.tuple(map(text), body[kind]).map(([labels, rest]) => ({
    apiVersion: kind === "Deployment" ? "apps/v1" : "v1",
    kind,
    metadata: { name: "it", namespace: "iam", labels },
    ...rest,
  }));
  return fc.array(one, { minLength: count, maxLength: count });
}

/** Versions of an object of any kind. */
export const anyVersions = (count: number) => fc.oneof(...KINDS.map((kind) => versions(kind, count)));
