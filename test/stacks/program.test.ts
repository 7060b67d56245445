import assert from "node:assert/strict";
import type { RegisteredResource } from "../../scripts/render/collect.ts";
import { kubernetesObjects, type KubernetesObject } from "../../scripts/render/objects.ts";
import { renderStack } from "../../scripts/render/render.ts";
import { overlaysForShow } from "../../scripts/local/values/show.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";

/** A value no config could hold by chance: wherever it turns up, a secret has got there. */
const CANARY = "canary0secret0value";
const compute = (type: string, name: string) =>
  type.startsWith("random:") ? { result: `${CANARY}0${name}` } : undefined;

interface Template {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: {
    containers: Container[];
    initContainers?: Container[];
    securityContext?: Record<string, unknown>;
    serviceAccountName?: string;
    automountServiceAccountToken?: boolean;
    volumes?: Record<string, unknown>[];
    topologySpreadConstraints?: unknown[];
  };
}
interface Container {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string }[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  securityContext?: {
    allowPrivilegeEscalation?: boolean;
    readOnlyRootFilesystem?: boolean;
    capabilities?: { drop?: string[] };
  };
  readinessProbe?: unknown;
  livenessProbe?: unknown;
}

const WORKLOADS = ["Deployment", "StatefulSet"];
const templateOf = (object: KubernetesObject) => (object["spec"] as { template: Template }).template;
const containersOf = (object: KubernetesObject) => {
  const { containers, initContainers = [] } = templateOf(object).spec;
  return { running: containers, all: [...initContainers, ...containers] };
};

for (const region of Object.keys(DEFAULT_REGIONS)) {
  for (const embedded of [false, true]) {
    describe(`the program for ${region}${embedded ? " with the embedded overlay" : ""}`, () => {
      let resources: readonly RegisteredResource[];
      let objects: KubernetesObject[];
      let workloads: KubernetesObject[];
      before(async () => {
        const overlays = overlaysForShow(region, { embedded, secret: (name) => `${CANARY}0${name}` });
        ({ resources } = await renderStack(region, { overlays, compute }));
        objects = kubernetesObjects(resources);
        workloads = objects.filter((object) => WORKLOADS.includes(object.kind));
      });

      it("registers the same resources in a preview", async () => {
        const overlays = overlaysForShow(region, { embedded, secret: (name) => `${CANARY}0${name}` });
        const preview = await renderStack(region, { overlays, compute, preview: true });
        assert.deepEqual(preview.resources.map((r) => r.urn).sort(), resources.map((r) => r.urn).sort());
      });

      it("sends every resource to the region's own provider", () => {
        const packageOf = (type: string) => type.split(":")[0]!;
        const strays = resources.filter(
          (r) =>
            r.custom &&
            packageOf(r.type) !== "pulumi" &&
            !r.provider.includes(`pulumi:providers:${packageOf(r.type)}::${region}::`),
        );
        assert.deepEqual(
          strays.map((r) => r.urn),
          [],
        );
      });

      it("gives every object a place under the region", () => {
        const orphans = resources.filter(
          (r) => r.custom && !r.type.startsWith("pulumi:") && !r.parent.includes("iam-ha:"),
        );
        assert.deepEqual(
          orphans.map((r) => r.urn),
          [],
        );
      });

      it("names no object twice", () => {
        const names = objects.map((o) => `${o.kind}/${o.metadata.name}`);
        assert.deepEqual(
          names.filter((name, i) => names.indexOf(name) !== i),
          [],
        );
      });

      it("keeps every secret in Secrets, and marks it secret wherever it is", () => {
        const seen = new Set<string>();
        for (const resource of resources) {
          for (const { path, value } of leaves(resource.inputs)) {
            if (typeof value !== "string" || !value.includes(CANARY)) continue;
            for (const [, name] of value.matchAll(new RegExp(`${CANARY}0([A-Za-z-]+)`, "g"))) seen.add(name!);
            assert.equal(resource.type, "kubernetes:core/v1:Secret", `${resource.urn} ${path.join(".")}`);
            assert.ok(
              resource.secretPaths.some((marked) => marked.every((part, i) => part === path[i])),
              `${resource.urn} ${path.join(".")} is not marked`,
            );
          }
        }
        // Given ones, and ones made at random.
        for (const name of ["postgresApp", "postgresReplication", "postgresMonitor", `${region}-credentials-redis`])
          assert.ok(seen.has(name), `${name} is nowhere`);
      });

      it("runs every container restricted, with requests, limits and a pinned image", () => {
        for (const workload of workloads) {
          const { spec } = templateOf(workload);
          const where = `${workload.kind}/${workload.metadata.name}`;
          assert.equal(spec.securityContext?.["runAsNonRoot"], true, where);
          assert.deepEqual(spec.securityContext?.["seccompProfile"], { type: "RuntimeDefault" }, where);
          for (const container of containersOf(workload).all) {
            const which = `${where} ${container.name}`;
            assert.equal(container.securityContext?.allowPrivilegeEscalation, false, which);
            assert.equal(container.securityContext?.readOnlyRootFilesystem, true, which);
            assert.deepEqual(container.securityContext?.capabilities?.drop, ["ALL"], which);
            for (const side of ["requests", "limits"] as const) {
              for (const what of ["cpu", "memory"])
                assert.ok(container.resources?.[side]?.[what], `${which} has no ${what} ${side}`);
            }
            assert.match(container.image, /:[^:/]+$/, which);
            assert.doesNotMatch(container.image, /:latest$/, which);
          }
        }
      });

      it("probes every container that runs on", () => {
        const unprobed = workloads.flatMap((workload) =>
          containersOf(workload)
            .running.filter((c) => !c.readinessProbe && !c.livenessProbe)
            .map((c) => `${workload.metadata.name}/${c.name}`),
        );
        assert.deepEqual(unprobed, []);
      });

      it("mounts a service account's token only where a role is bound to it", () => {
        const bound = new Set(
          objects
            .filter((o) => o.kind === "RoleBinding")
            .flatMap((o) => (o["subjects"] as { name: string }[]).map((subject) => subject.name)),
        );
        for (const workload of workloads) {
          const {
            serviceAccountName = "default",
            automountServiceAccountToken,
            volumes = [],
          } = templateOf(workload).spec;
          assert.notEqual(serviceAccountName, "default", workload.metadata.name);
          // Either into every container, or by a volume into those that need it.
          const mounted =
            (automountServiceAccountToken ?? true) || JSON.stringify(volumes).includes("serviceAccountToken");
          assert.equal(mounted, bound.has(serviceAccountName), workload.metadata.name);
        }
      });

      it("points every Service with a selector at pods that exist", () => {
        for (const service of objects.filter((o) => o.kind === "Service")) {
          const { selector } = service["spec"] as { selector?: Record<string, string> };
          if (!selector) continue;
          // Labels that engines and Kubernetes write at run time.
          const { role: _role, "statefulset.kubernetes.io/pod-name": _pod, ...fixed } = selector;
          const hit = workloads.some((w) =>
            Object.entries(fixed).every(([key, value]) => templateOf(w).metadata?.labels?.[key] === value),
          );
          assert.ok(hit, `${service.metadata.name} selects nothing`);
        }
      });

      it("says who may talk to each part, and keeps enough of it through a drain", () => {
        for (const workload of workloads) {
          const labels = templateOf(workload).metadata?.labels ?? {};
          const selects = (selector: Record<string, string> = {}) =>
            Object.entries(selector).every(([key, value]) => labels[key] === value);
          const policies = objects.filter(
            (o) =>
              o.kind === "NetworkPolicy" &&
              selects((o["spec"] as { podSelector: { matchLabels?: Record<string, string> } }).podSelector.matchLabels),
          );
          assert.ok(policies.length > 0, `${workload.metadata.name} has no NetworkPolicy`);
          if (((workload["spec"] as { replicas?: number }).replicas ?? 1) < 2) continue;
          const budgets = objects.filter(
            (o) =>
              o.kind === "PodDisruptionBudget" &&
              selects((o["spec"] as { selector: { matchLabels?: Record<string, string> } }).selector.matchLabels),
          );
          assert.equal(budgets.length, 1, `${workload.metadata.name} has ${budgets.length} PodDisruptionBudgets`);
          assert.ok(
            templateOf(workload).spec.topologySpreadConstraints?.length,
            `${workload.metadata.name} is not spread`,
          );
        }
      });

      it(embedded ? "lets data be deleted with the stack" : "protects and keeps what holds data", () => {
        const stateful = resources.filter(
          (r) =>
            /:(StatefulSet|Namespace)$/.test(r.type) &&
            (r.type.endsWith("Namespace") || JSON.stringify(r.inputs).includes("volumeClaimTemplates")),
        );
        assert.ok(stateful.length >= 3);
        for (const r of stateful) {
          assert.equal(r.protect, !embedded, r.urn);
          assert.equal(r.retainOnDelete, !embedded, r.urn);
        }
      });
    });
  }
}

function leaves(value: unknown, path: string[] = []): { path: string[]; value: unknown }[] {
  if (value === null || typeof value !== "object") return [{ path, value }];
  return Object.entries(value).flatMap(([key, item]) => leaves(item, [...path, key]));
}
