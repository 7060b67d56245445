import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../../components/common/context.ts";
import { imageSettings } from "../../components/common/images.ts";
import { certificateDnsNames } from "../../components/common/names.ts";
import { RedisCluster } from "../../components/redis/redis-cluster.ts";
import { redisSettings } from "../../components/redis/settings.ts";
import { collect, UNKNOWN, type Collected, type RegisteredResource } from "../../scripts/render/collect.ts";
import { redisKeeperConfig } from "../../sidecar/core/redis-keeper-config.ts";
import { regionContext } from "../support/context.ts";

const PASSWORD = "an-application-password";
const context = regionContext({ images: imageSettings.parse({ tag: "1.2.3", pullSecrets: ["pull"] }) });

function run(
  changes: { context?: Partial<RegionContext>; settings?: object; preview?: boolean } = {},
): Promise<Collected> {
  const program = async () => {
    const provider = new k8s.Provider("beijing", { context: "none" });
    const redis = new RedisCluster(
      "beijing-redis",
      {
        context: { ...context, ...changes.context },
        settings: redisSettings.parse(changes.settings ?? {}),
        tlsSecret: "redis-tls",
        password: pulumi.secret(PASSWORD),
      },
      { providers: [provider] },
    );
    return {
      host: redis.host,
      port: redis.port,
      nodeHosts: redis.nodeHosts,
      syncUser: redis.syncUser,
      syncPassword: redis.syncPassword,
      isSyncPasswordSecret: pulumi.isSecret(redis.syncPassword),
    };
  };
  return collect(program, {
    stack: "beijing",
    preview: changes.preview ?? false,
    compute: (type, name) => (type.startsWith("random:") ? { result: `made-for-${name}` } : undefined),
  });
}

interface Pod {
  metadata: { labels: Record<string, string>; annotations: Record<string, string> };
  spec: Record<string, unknown> & { containers: Container[]; volumes: { name: string; [kind: string]: unknown }[] };
}
interface Container {
  env?: { name: string; value?: string }[];
  args: string[];
  image: string;
  volumeMounts: { name: string; mountPath: string }[];
  [key: string]: unknown;
}
const podOf = (resource: RegisteredResource) => (resource.inputs["spec"] as { template: Pod }).template;

describe("RedisCluster", () => {
  let all: Collected;
  const find = (type: string, name: string, from = all) => {
    const found = from.resources.filter(
      (r) => r.type.endsWith(`:${type}`) && (r.inputs["metadata"] as { name?: string } | undefined)?.name === name,
    );
    assert.equal(found.length, 1, `${type} ${name}`);
    return found[0]!;
  };
  before(async () => {
    all = await run();
  });

  it("tells where Redis is", () => {
    assert.equal(all.outputs["host"], "redis.iam.svc.cluster.local");
    assert.equal(all.outputs["port"], 6379);
    const hosts = all.outputs["nodeHosts"] as string[];
    assert.equal(hosts.length, 6);
    assert.equal(hosts[5], "redis-beijing-5.redis-nodes.iam.svc.cluster.local");
    // The certificate's wildcard covers one label: all that comes before the first dot.
    const names = certificateDnsNames(context, "iam").redis;
    for (const host of hosts) assert.ok(names.includes(`*${host.slice(host.indexOf("."))}`));
  });

  it("has six nodes that start together, each with a volume", () => {
    const spec = find("StatefulSet", "redis-beijing").inputs["spec"] as Record<string, unknown>;
    assert.equal(spec["replicas"], 6);
    assert.equal(spec["podManagementPolicy"], "Parallel");
    assert.equal(spec["serviceName"], "redis-nodes");
    const [claim] = spec["volumeClaimTemplates"] as { spec: Record<string, unknown> }[];
    assert.deepEqual(claim!.spec, { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "8Gi" } } });
  });

  it("takes sizes, storage class and cluster domain from its arguments", async () => {
    const other = await run({
      context: { storageClass: "fast", clusterDomain: "cluster.beijing" },
      settings: { masters: 4, replicasPerMaster: 2, storage: "20Gi" },
    });
    const set = find("StatefulSet", "redis-beijing", other);
    const spec = set.inputs["spec"] as { replicas: number; volumeClaimTemplates: { spec: Record<string, unknown> }[] };
    assert.equal(spec.replicas, 12);
    assert.equal(spec.volumeClaimTemplates[0]!.spec["storageClassName"], "fast");
    const announced = podOf(set).spec.containers[0]!.env!.find((e) => e.name === "ANNOUNCED_HOST")!.value;
    assert.equal(announced, "$(POD_NAME).redis-nodes.$(POD_NAMESPACE).svc.cluster.beijing");
    assert.equal((other.outputs["nodeHosts"] as string[])[11], "redis-beijing-11.redis-nodes.iam.svc.cluster.beijing");
  });

  it("keeps what holds data, as the context says", async () => {
    const kept = (from: Collected) =>
      from.resources
        .filter((r) => r.protect && r.retainOnDelete)
        .map((r) => r.type.split(":").at(-1))
        .sort();
    assert.deepEqual(kept(all), ["Secret", "StatefulSet"]);
    assert.deepEqual(kept(await run({ context: { protect: false } })), []);
  });

  it("has passwords in its Secret alone, marked secret", () => {
    const secret = find("Secret", "redis-users");
    assert.deepEqual(secret.inputs["stringData"], {
      iam: PASSWORD,
      keeper: "made-for-beijing-redis-keeper",
      node: "made-for-beijing-redis-node",
      sync: "made-for-beijing-redis-sync",
    });
    assert.ok(secret.secretPaths.some(([first]) => first === "stringData"));
    for (const resource of all.resources) {
      if (resource === secret) continue;
      const text = JSON.stringify(resource.inputs);
      assert.ok(!text.includes(PASSWORD) && !text.includes("made-for-"), resource.urn);
    }
  });

  it("gives the region controller its user and password, the password as a secret", () => {
    assert.equal(all.outputs["syncUser"], "sync");
    assert.equal(all.outputs["syncPassword"], "made-for-beijing-redis-sync");
    assert.equal(all.outputs["isSyncPasswordSecret"], true);
    const rules = (find("ConfigMap", "redis-config").inputs["data"] as Record<string, string>)["users.acl"]!;
    assert.match(rules, /^user sync on resetkeys resetchannels -@all %RW~session:\* /m);
  });

  it("lets the user of the copying touch the prefixes of the settings alone", async () => {
    const other = await run({ settings: { regions: { copy: ["login:"], invalidate: [] } } });
    const rules = (find("ConfigMap", "redis-config", other).inputs["data"] as Record<string, string>)["users.acl"]!;
    const line = rules.split("\n").find((each) => each.startsWith("user sync "))!;
    assert.deepEqual(line.match(/[%~&]\S+/g), ["%RW~login:*", "%RW~iam-ha:sync:*", "&__redis__:invalidate"]);
  });

  it("lets nodes find each other before they are ready, and clients ready ones only", () => {
    const nodes = find("Service", "redis-nodes").inputs["spec"] as Record<string, unknown>;
    assert.deepEqual([nodes["clusterIP"], nodes["publishNotReadyAddresses"]], ["None", true]);
    const clients = find("Service", "redis").inputs["spec"] as Record<string, unknown>;
    assert.deepEqual([clients["type"], clients["publishNotReadyAddresses"]], ["ClusterIP", undefined]);
  });

  it("admits the API, the keeper, the region controller and monitoring to the clients' port, and only nodes to the bus", () => {
    const { ingress } = find("NetworkPolicy", "redis").inputs["spec"] as {
      ingress: { from: { podSelector: { matchLabels: Record<string, string> } }[]; ports: { port: number }[] }[];
    };
    const rules = ingress.map(({ from, ports }) => [
      from.map((f) => f.podSelector.matchLabels["app.kubernetes.io/name"]),
      ports.map((p) => p.port),
    ]);
    assert.deepEqual(rules, [
      [["iam-api", "redis-keeper", "region-controller", "monitoring"], [6379]],
      [["redis"], [6379, 16379]],
    ]);
  });

  it("never stops two nodes at once on purpose", () => {
    assert.equal((find("PodDisruptionBudget", "redis").inputs["spec"] as { maxUnavailable: number }).maxUnavailable, 1);
  });

  it("is restricted, spread, and has no token where none is used", () => {
    const redis = podOf(find("StatefulSet", "redis-beijing"));
    const keeper = podOf(find("Deployment", "redis-keeper"));
    assert.equal(redis.spec["automountServiceAccountToken"], false);
    assert.equal(keeper.spec["automountServiceAccountToken"], true);
    for (const { spec } of [redis, keeper]) {
      assert.equal((spec["securityContext"] as Record<string, unknown>)["runAsNonRoot"], true);
      assert.equal(
        (spec["topologySpreadConstraints"] as { whenUnsatisfiable: string }[])[0]!.whenUnsatisfiable,
        "DoNotSchedule",
      );
      for (const container of spec.containers) {
        assert.deepEqual(container["securityContext"], {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
        for (const probe of ["readinessProbe", "livenessProbe"]) assert.ok(container[probe], probe);
      }
      const mounted = spec.containers
        .flatMap((container) => container.volumeMounts.map((mount) => mount.name))
        .filter((name) => name !== "data");
      assert.deepEqual([...new Set(mounted)].sort(), spec.volumes.map((volume) => volume.name).sort());
    }
  });

  it("restarts nodes for a changed configuration and not for a changed password", async () => {
    const sum = (from: Collected) =>
      podOf(find("StatefulSet", "redis-beijing", from)).metadata.annotations["iam-ha/config-sha256"];
    assert.match(sum(all)!, /^[0-9a-f]{64}$/);
    assert.notEqual(sum(await run({ settings: { maxClients: 77 } })), sum(all));
    assert.equal(sum(await run()), sum(all));
  });

  it("gives the keeper a file that it accepts, and the right to list pods only where there are several machines", async () => {
    const file = (from: Collected) =>
      (find("ConfigMap", "redis-keeper", from).inputs["data"] as Record<string, string>)["keeper.json"]!;
    const config = redisKeeperConfig.parse(JSON.parse(file(all)));
    assert.deepEqual(
      config.nodes.map((node) => node.host),
      all.outputs["nodeHosts"],
    );
    assert.deepEqual(config.placement, {
      source: "kubernetes",
      namespace: "iam",
      labelSelector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=beijing",
    });
    const rules = (find("Role", "redis-keeper").inputs as { rules: unknown }).rules;
    assert.deepEqual(rules, [{ apiGroups: [""], resources: ["pods"], verbs: ["list"] }]);

    const single = await run({ context: { multiNode: false } });
    assert.deepEqual(redisKeeperConfig.parse(JSON.parse(file(single))).placement, { source: "none" });
    assert.deepEqual(
      single.resources.filter((r) => r.type.includes("rbac")),
      [],
    );
    assert.equal(podOf(find("Deployment", "redis-keeper", single)).spec["automountServiceAccountToken"], false);
  });

  it("registers the same resources in a preview, with made passwords unknown", async () => {
    const preview = await run({ preview: true });
    assert.deepEqual(preview.resources.map((r) => r.urn).sort(), all.resources.map((r) => r.urn).sort());
    assert.equal(find("Secret", "redis-users", preview).inputs["stringData"], UNKNOWN);
  });

  it("puts everything under itself", () => {
    const own = all.resources.filter((r) => r.custom && !r.type.startsWith("pulumi:"));
    for (const resource of own) assert.match(resource.parent, /iam-ha:redis:/, resource.urn);
    assert.equal(all.resources.filter((r) => r.type === "iam-ha:redis:RedisCluster").length, 1);
  });

  it("refuses a region whose name makes names too long, with the path", async () => {
    await assert.rejects(run({ context: { region: "r".repeat(50) } }), (error) => {
      assert.ok(pulumi.InputPropertiesError.isInstance(error));
      assert.deepEqual(
        error.errors?.map(({ propertyPath }) => propertyPath),
        ["context.region"],
      );
      return true;
    });
  });
});
