import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../../components/common/context.ts";
import { PostgresCluster } from "../../components/postgres/postgres-cluster.ts";
import { postgresSettings } from "../../components/postgres/settings.ts";
import { collect, UNKNOWN, type Collected, type RegisteredResource } from "../../scripts/render/collect.ts";
import { wanSettings } from "../../components/common/wan.ts";
import { regionContext } from "../support/context.ts";

const CONTEXT = regionContext({ clusterDomain: "cluster.beijing", storageClass: "fast" });
const PASSWORDS = {
  superuser: "MARK-superuser",
  replication: "MARK-replication",
  rewind: "MARK-rewind",
  application: "MARK-application",
  monitor: "MARK-monitor",
  restApi: "MARK-rest-api",
};

interface Options {
  readonly settings?: unknown;
  readonly context?: Partial<RegionContext>;
  readonly peers?: string[];
  readonly preview?: boolean;
}

function run({
  settings = {},
  context = {},
  peers = ["shanghai", "shenzhen"],
  preview = false,
}: Options = {}): Promise<Collected> {
  const program = async () => {
    const provider = new k8s.Provider("beijing", { context: "x" });
    const secret = (text: string) => pulumi.secret(text);
    const made = new PostgresCluster(
      "beijing-postgres",
      {
        context: { ...CONTEXT, ...context },
        settings: postgresSettings.parse(settings),
        peers,
        tlsSecret: "postgres-tls",
        passwords: {
          superuser: secret(PASSWORDS.superuser),
          replication: secret(PASSWORDS.replication),
          rewind: secret(PASSWORDS.rewind),
          application: secret(PASSWORDS.application),
          monitor: secret(PASSWORDS.monitor),
          restApi: secret(PASSWORDS.restApi),
        },
      },
      { providers: [provider] },
    );
    return { primary: made.primaryHost, replicas: made.replicasHost, any: made.anyHost, nodes: made.nodeHosts };
  };
  return collect(program, { stack: "beijing", preview });
}

const kindOf = (r: RegisteredResource) => r.type.split(":").at(-1)!;
const nameOf = (r: RegisteredResource) => (r.inputs["metadata"] as { name: string }).name;

function one(collected: Collected, kind: string, name?: string): RegisteredResource {
  const found = collected.resources.filter((r) => kindOf(r) === kind && (name === undefined || nameOf(r) === name));
  assert.equal(found.length, 1, `${kind} ${name ?? ""}`);
  return found[0]!;
}

type Container = {
  name: string;
  image: string;
  args: string[];
  env: { name: string; value?: string }[];
  readinessProbe?: { httpGet: { path: string; scheme: string } };
  livenessProbe?: { httpGet?: { path: string } };
  securityContext: Record<string, unknown>;
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  volumeMounts: { name: string; mountPath: string; subPath?: string }[];
};
type PodSpec = {
  initContainers: Container[];
  containers: Container[];
  volumes: Record<string, unknown>[];
  securityContext: Record<string, unknown>;
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds: number;
};
type SetSpec = {
  replicas: number;
  podManagementPolicy: string;
  persistentVolumeClaimRetentionPolicy: unknown;
  template: { metadata: { labels: Record<string, string>; annotations: Record<string, string> }; spec: PodSpec };
  volumeClaimTemplates: { spec: { storageClassName?: string; resources: unknown } }[];
};
const setOf = (collected: Collected) => one(collected, "StatefulSet").inputs["spec"] as SetSpec;
const dataOf = (collected: Collected, name: string) =>
  one(collected, "ConfigMap", name).inputs["data"] as Record<string, string>;

describe("PostgresCluster", () => {
  for (const preview of [true, false]) {
    it(`registers everything, below itself and with its provider (${preview ? "preview" : "update"})`, async () => {
      const { resources, outputs } = await run({ preview });
      const kinds = resources
        .filter((r) => r.custom && r.type.startsWith("kubernetes:"))
        .map((r) => `${kindOf(r)}/${nameOf(r)}`);
      assert.deepEqual(kinds.sort(), [
        "ConfigMap/postgresql-patroni",
        "ConfigMap/postgresql-scripts",
        "NetworkPolicy/postgresql",
        "PodDisruptionBudget/postgresql",
        "Role/postgresql",
        "RoleBinding/postgresql",
        "Secret/postgresql-credentials",
        "Service/postgresql",
        "Service/postgresql-any",
        "Service/postgresql-config",
        "Service/postgresql-failover",
        "Service/postgresql-nodes",
        "Service/postgresql-replicas",
        "Service/postgresql-sync",
        "ServiceAccount/postgresql",
        "StatefulSet/postgresql-beijing",
      ]);
      for (const r of resources.filter((r) => r.type.startsWith("kubernetes:"))) {
        assert.match(r.parent, /iam-ha:postgres:PostgresCluster::beijing-postgres$/, r.urn);
        assert.match(r.provider, /pulumi:providers:kubernetes::beijing::/, r.urn);
      }
      assert.deepEqual(outputs, {
        primary: "postgresql.iam.svc.cluster.beijing",
        replicas: "postgresql-replicas.iam.svc.cluster.beijing",
        any: "postgresql-any.iam.svc.cluster.beijing",
        nodes: [0, 1, 2, 3].map((i) => `postgresql-beijing-${i}.postgresql-nodes.iam.svc.cluster.beijing`),
      });
      for (const r of resources) assert.ok(!JSON.stringify(r.inputs).includes(UNKNOWN), `unknown inputs: ${r.urn}`);
    });
  }

  it("protects and keeps what holds data or state, where the stack says so", async () => {
    const precious = ["StatefulSet", "Secret"];
    for (const protect of [true, false]) {
      const { resources } = await run({ context: { protect } });
      const found = resources.filter(
        (r) =>
          precious.includes(kindOf(r)) ||
          /Service\/postgresql(-config|-sync|-failover)?$/.test(
            `${kindOf(r)}/${r.inputs["metadata"] ? nameOf(r) : ""}`,
          ),
      );
      assert.equal(found.length, 6);
      for (const r of found) assert.deepEqual([r.protect, r.retainOnDelete], [protect, protect], r.urn);
    }
  });

  it("has passwords in one secret and nowhere else", async () => {
    const { resources } = await run();
    const holders = resources.filter((r) => JSON.stringify(r.inputs).includes("MARK-"));
    assert.deepEqual(holders.map(kindOf), ["Secret"]);
    const secret = holders[0]!;
    assert.ok(secret.secretPaths.some(([first]) => first === "stringData"));
    const file = (secret.inputs["stringData"] as Record<string, string>)["30-credentials.yml"]!;
    for (const password of Object.values(PASSWORDS)) assert.ok(file.includes(password));
  });

  it("makes one primary service that Patroni alone fills, and keeps Patroni's state from being cleaned up", async () => {
    const collected = await run();
    const spec = (name: string) => one(collected, "Service", name).inputs["spec"] as Record<string, unknown>;
    assert.equal(spec("postgresql")["selector"], undefined);
    for (const name of ["postgresql-config", "postgresql-sync", "postgresql-failover"]) {
      assert.deepEqual(spec(name), { clusterIP: "None" });
    }
    assert.equal((spec("postgresql-replicas")["selector"] as Record<string, string>)["role"], "replica");
    assert.equal((spec("postgresql-any")["selector"] as Record<string, string>)["role"], undefined);
    assert.equal(spec("postgresql-nodes")["publishNotReadyAddresses"], true);
    // kube-proxy matches Patroni's Endpoints to the Service by the port's name.
    const patroni = dataOf(collected, "postgresql-patroni")["10-patroni.yml"]!;
    const [port] = spec("postgresql")["ports"] as { name: string; port: number }[];
    assert.match(patroni, new RegExp(`ports:\\n +- name: ${port!.name}\\n +port: ${port!.port}\\n`));
  });

  it("lets Patroni do what it must, by name where names can be given", async () => {
    const { resources } = await run({ settings: { replicas: 2 } });
    const rules = one({ resources, outputs: {} }, "Role").inputs["rules"] as {
      resources: string[];
      verbs: string[];
      resourceNames?: string[];
    }[];
    for (const { resources: kinds, verbs, resourceNames } of rules) {
      assert.deepEqual(
        verbs.filter((v) => v === "delete" || v === "*" || v === "deletecollection"),
        [],
      );
      assert.ok(kinds.every((kind) => kind === "endpoints" || kind === "pods"));
      if (verbs.includes("patch")) assert.ok(resourceNames && resourceNames.length > 0);
    }
    const pods = rules.find((r) => r.resources[0] === "pods" && r.resourceNames);
    assert.deepEqual(pods?.resourceNames, ["postgresql-beijing-0", "postgresql-beijing-1"]);
  });

  it("runs restricted pods, each with a volume, whose only token is Patroni's", async () => {
    const spec = setOf(await run());
    const pod = spec.template.spec;
    assert.equal(spec.replicas, 4);
    assert.equal(spec.podManagementPolicy, "Parallel");
    assert.deepEqual(spec.persistentVolumeClaimRetentionPolicy, { whenDeleted: "Retain", whenScaled: "Retain" });
    assert.equal(spec.volumeClaimTemplates[0]!.spec.storageClassName, "fast");
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(pod.securityContext["runAsNonRoot"], true);
    for (const container of [...pod.initContainers, ...pod.containers]) {
      assert.equal(container.image, "registry.example.com/iam-ha/postgres:0.1.0");
      assert.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      assert.equal(container.resources.requests["memory"], container.resources.limits["memory"]);
      // A file that is mounted by subPath never changes, and changes are what the reconciler lives on.
      assert.ok(container.volumeMounts.every((m) => m.subPath === undefined));
    }
    for (const container of pod.containers) assert.ok(container.livenessProbe);
    const withToken = pod.containers.filter((c) => c.volumeMounts.some((m) => m.name === "token")).map((c) => c.name);
    assert.deepEqual(withToken, ["postgres"]);
  });

  it("asks the region controller before a probe looks, and starts Patroni with what it said", async () => {
    const { initContainers, containers } = setOf(await run()).template.spec;
    const [birth] = initContainers;
    assert.deepEqual(birth!.args, ["/usr/bin/python3", "/etc/iam-ha/birth.py"]);
    assert.deepEqual(containers[0]!.args, [
      "/usr/bin/python3",
      "/etc/iam-ha/start.py",
      "postgres-entrypoint",
      "/run/patroni/config",
    ]);
    for (const container of [birth!, containers[0]!]) {
      assert.equal(
        container.env.find(({ name }) => name === "IAM_HA_REGION_CONTROLLER")?.value,
        "https://region-controller.$(PATRONI_KUBERNETES_NAMESPACE).svc.cluster.beijing:8443",
      );
      for (const path of ["/var/lib/postgresql/data", "/etc/patroni", "/etc/iam-ha", "/etc/postgresql/tls"])
        assert.ok(
          container.volumeMounts.some(({ mountPath }) => mountPath === path),
          `${container.name} ${path}`,
        );
    }
    // Variables that others are made of come before them.
    const names = birth!.env.map(({ name }) => name);
    assert.ok(names.indexOf("PATRONI_KUBERNETES_NAMESPACE") < names.indexOf("IAM_HA_REGION_CONTROLLER"));
  });

  it("is found by other regions under its endpoint, by a Service that nothing waits for", async () => {
    const service = async (wan: unknown) =>
      one(await run({ context: { wan: wanSettings.parse(wan) } }), "Service", "postgresql").inputs as {
        metadata: { annotations: Record<string, string> };
        spec: Record<string, unknown>;
      };
    const balanced = await service({
      service: { annotations: { "example.com/internal": "true" }, loadBalancerClass: "x" },
    });
    assert.deepEqual(balanced.metadata.annotations, {
      "external-dns.alpha.kubernetes.io/hostname": "postgresql-beijing.iam.example.com",
      "example.com/internal": "true",
      "pulumi.com/skipAwait": "true",
    });
    assert.equal(balanced.spec["type"], "LoadBalancer");
    assert.equal(balanced.spec["loadBalancerClass"], "x");
    assert.equal(balanced.spec["selector"], undefined);
    assert.equal((await service({ service: { type: "ClusterIP" } })).spec["type"], "ClusterIP");
  });

  it("takes a replica that lags out of the read service, and kills nobody for it", async () => {
    const [postgres] = setOf(await run({ settings: { maxReplicaLagBytes: 2_097_152 } })).template.spec.containers;
    assert.deepEqual(postgres!.readinessProbe?.httpGet, {
      path: "/read-only?lag=2097152",
      port: "patroni",
      scheme: "HTTPS",
    });
    assert.equal(postgres!.livenessProbe?.httpGet?.path, "/liveness");
  });

  it("does not touch the pods when settings or passwords change", async () => {
    const before = setOf(await run());
    const after = setOf(
      await run({ settings: { parameters: { work_mem: "8MB", max_connections: 300 }, synchronous: { nodeCount: 2 } } }),
    );
    assert.deepEqual(after, before);
    const config = dataOf(await run({ settings: { parameters: { work_mem: "8MB" } } }), "postgresql-patroni");
    assert.match(config["20-dynamic.yml"]!, /"work_mem": "8MB"/);
  });

  it("lets in the pooler, its own pods and, where named, the other regions", async () => {
    type Rule = {
      from: { podSelector?: { matchLabels: Record<string, string> }; ipBlock?: { cidr: string } }[];
      ports: { port: number }[];
    };
    const ingress = async (peerNetworks: string[]) =>
      (
        one(await run({ context: { wan: wanSettings.parse({ peerNetworks }) } }), "NetworkPolicy").inputs["spec"] as {
          ingress: Rule[];
        }
      ).ingress;
    const rules = await ingress(["10.12.0.0/16"]);
    const to5432 = rules.filter((r) => r.ports.some((p) => p.port === 5432)).flatMap((r) => r.from);
    assert.deepEqual(
      to5432.map((f) => f.podSelector?.matchLabels["app.kubernetes.io/name"] ?? f.ipBlock?.cidr),
      ["postgresql", "pgbouncer", "region-controller", "10.12.0.0/16"],
    );
    assert.ok((await ingress([])).every((r) => r.from.every((f) => f.ipBlock === undefined)));
    assert.ok(
      rules.every((r) => r.from.length > 0),
      "a rule without a source would let in everybody",
    );
  });

  it("refuses what the settings alone cannot show", async () => {
    const refused = async (options: Options, path: string, reason: RegExp) => {
      await assert.rejects(run(options), (error: unknown) => {
        assert.ok(pulumi.InputPropertiesError.isInstance(error));
        const found = error.errors.find((e) => e.propertyPath === path);
        assert.ok(found, JSON.stringify(error.errors));
        assert.match(found.reason, reason);
        return true;
      });
    };
    const many = ["a", "b", "c", "d", "e", "f", "g"];
    await refused({ peers: many }, "settings.parameters.max_replication_slots", /need 11/);
    await refused({ peers: many }, "settings.parameters.max_wal_senders", /need 12/);
    await refused({ peers: ["shanghai"], settings: { slots: ["shanghai"] } }, "settings.slots", /another name/);
    await refused({ peers: ["beijing"] }, "peers", /leave it out/);
  });
});
