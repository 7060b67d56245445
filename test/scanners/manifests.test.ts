import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { goldenText } from "../../scripts/render/goldens.ts";
import type { KubernetesObject } from "../../scripts/render/objects.ts";
import { toYaml } from "../../scripts/render/objects.ts";
import { judge, type Finding } from "../../scripts/scanners/findings.ts";
import type { Scanners } from "../../scripts/scanners/programs.ts";
import { checkov, kubeconform, kubeScore, readExceptions } from "../../scripts/scanners/scan.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { BUILD_LIMIT, builtScanners } from "./built.ts";

const REGIONS = Object.keys(DEFAULT_REGIONS);

interface Change {
  readonly what: string;
  /** Kind and name of what is changed in Beijing. */
  readonly kind: string;
  readonly name: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a change goes wherever it likes
  readonly change: (object: any) => void;
  /** What has to be found. */
  readonly finds: RegExp;
}

const SCHEMA_FAULTS: readonly Change[] = [
  {
    what: "a field that there is not",
    kind: "StatefulSet",
    name: "redis-beijing",
    change: (o) => (o.spec.template.spec.containers[0].readinesProbe = {}),
    finds: /readinesProbe/,
  },
  {
    what: "a value of another type",
    kind: "Deployment",
    name: "edge",
    change: (o) => (o.spec.replicas = "two"),
    finds: /replicas/,
  },
  {
    what: "a field that is missing",
    kind: "Deployment",
    name: "pgbouncer",
    change: (o) => delete o.spec.selector,
    finds: /selector/,
  },
  {
    what: "a kind that there is not",
    kind: "Service",
    name: "edge",
    change: (o) => (o.apiVersion = "v2"),
    finds: /could not find schema/,
  },
  {
    what: "a port that is neither a number nor a name",
    kind: "Service",
    name: "edge",
    change: (o) => (o.spec.ports[0].targetPort = true),
    finds: /targetPort/,
  },
];

interface Fault extends Omit<Change, "finds"> {
  readonly check: string;
  /** Object in which it shows; default the one that is changed. */
  readonly at?: string;
}

const SAFETY_FAULTS: readonly Fault[] = [
  {
    what: "a root file system that may be written",
    kind: "StatefulSet",
    name: "postgresql-beijing",
    change: (o) => (o.spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem = false),
    check: "container-security-context-readonlyrootfilesystem",
  },
  {
    what: "no memory limit",
    kind: "Deployment",
    name: "pgbouncer",
    change: (o) => delete o.spec.template.spec.containers[0].resources.limits.memory,
    check: "container-resources",
  },
  {
    what: "an image without a version",
    kind: "Deployment",
    name: "edge",
    change: (o) => (o.spec.template.spec.containers[0].image = "registry.example.com/edge:latest"),
    check: "container-image-tag",
  },
  {
    what: "a network policy for no pod",
    kind: "NetworkPolicy",
    name: "redis",
    change: (o) => (o.spec.podSelector.matchLabels = { "app.kubernetes.io/name": "rediss" }),
    check: "networkpolicy-targets-pod",
  },
  {
    what: "a disruption budget for no pod",
    kind: "PodDisruptionBudget",
    name: "postgresql",
    change: (o) => (o.spec.selector.matchLabels = { "app.kubernetes.io/name": "postgres" }),
    check: "statefulset-has-poddisruptionbudget",
    at: "StatefulSet/postgresql-beijing",
  },
];

const SECURITY_FAULTS: readonly Fault[] = [
  {
    what: "a pod that shares the node's network",
    kind: "StatefulSet",
    name: "witness",
    change: (o) => (o.spec.template.spec.hostNetwork = true),
    check: "CKV_K8S_19",
  },
  {
    what: "a container that may gain rights",
    kind: "Deployment",
    name: "edge",
    change: (o) => (o.spec.template.spec.containers[0].securityContext.allowPrivilegeEscalation = true),
    check: "CKV_K8S_20",
  },
  {
    what: "a role that may do everything",
    kind: "Role",
    name: "redis-keeper",
    change: (o) => (o.rules = [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }]),
    check: "CKV_K8S_49",
  },
];

describe("public scanners over the manifests of production", () => {
  let scanners: Scanners;
  const manifests = new Map<string, string>();
  before(async function () {
    this.timeout(BUILD_LIMIT);
    scanners = await builtScanners();
    for (const region of REGIONS) manifests.set(region, await goldenText({ region, embedded: false }));
  });
  const objects = (region: string) =>
    parseAllDocuments(manifests.get(region)!).map((document) => document.toJS() as KubernetesObject);

  /** Beijing's manifests with changes. */
  function changed(...changes: readonly Pick<Change, "kind" | "name" | "change">[]): string {
    const all = objects("beijing");
    for (const { kind, name, change } of changes) {
      const found = all.find((object) => object.kind === kind && object.metadata.name === name);
      assert.ok(found, `there is no ${kind}/${name}`);
      change(found);
    }
    return toYaml(all);
  }

  describe("kubeconform, strict", () => {
    for (const region of REGIONS)
      it(`finds every object of ${region} valid`, async () => {
        const { valid, findings } = await kubeconform(scanners, manifests.get(region)!);
        assert.deepEqual(findings, []);
        assert.equal(valid, objects(region).length);
      });

    for (const fault of SCHEMA_FAULTS)
      it(`finds ${fault.what}`, async () => {
        const { findings } = await kubeconform(scanners, changed(fault));
        assert.equal(findings.length, 1);
        assert.match(findings[0]!.text, fault.finds);
      });
  });

  const JUDGES = [
    { name: "kube-score", scan: kubeScore, faults: SAFETY_FAULTS },
    { name: "checkov", scan: checkov, faults: SECURITY_FAULTS },
  ] as const;
  for (const { name, scan, faults } of JUDGES)
    describe(name, () => {
      it("objects to nothing but what has an exception, and every exception is of use", async () => {
        const findings = await scan(scanners, [...manifests.values()]);
        const { open, stale } = judge(findings, readExceptions(name));
        assert.deepEqual(
          open.map(({ check, object, text }) => `${check} ${object}: ${text}`),
          [],
        );
        assert.deepEqual(stale, [], "exceptions that nothing was found for: take them out");
      });

      // All faults in one run, for a run takes seconds; each has to be found in the object that has it.
      let open: readonly Finding[] = [];
      before(async () => {
        ({ open } = judge(await scan(scanners, [changed(...faults)]), readExceptions(name)));
      });
      for (const { what, kind, name: object, check, at } of faults)
        it(`finds ${what}, and no exception hides it`, () => {
          const found = open.map((finding) => `${finding.check} ${finding.object}`);
          assert.ok(found.includes(`${check} ${at ?? `${kind}/${object}`}`), `found ${found.join(", ") || "nothing"}`);
        });

      it("has not passed where it was given nothing", async () => {
        await assert.rejects(scan(scanners, [""]));
      });
    });
});
