import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../../components/common/context.ts";
import { imageSettings } from "../../components/common/images.ts";
import { certificateDnsNames } from "../../components/common/names.ts";
import { wanSettings } from "../../components/common/wan.ts";
import { RegionController, type RegionControllerArgs } from "../../components/region-controller/region-controller.ts";
import { regionControllerSettings } from "../../components/region-controller/settings.ts";
import { collect, type Collected } from "../../scripts/render/collect.ts";
import { DEFAULT_LINKS } from "../../sidecar/core/link.ts";
import { regionConfig } from "../../sidecar/core/region-config.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { regionContext } from "../support/context.ts";

const SECRETS = ["monitor-pass-0001", "patroni-pass-0001", "witness-pass-0001", "redis-pass-00001", "shared-pass-0001"];
const context = regionContext({
  images: imageSettings.parse({ tag: "1.2.3" }),
  wan: wanSettings.parse({ peerNetworks: ["10.2.0.0/16", "10.3.0.0/16"], service: { loadBalancerClass: "internal" } }),
});

function run(
  changes: {
    context?: Partial<RegionContext>;
    settings?: object;
    args?: Partial<RegionControllerArgs>;
    preview?: boolean;
  } = {},
): Promise<Collected> {
  const program = async () => {
    const provider = new k8s.Provider("beijing", { context: "none" });
    const [monitor, patroniRestApi, witness, redisSync, shared] = SECRETS.map((value) => pulumi.secret(value));
    const controller = new RegionController(
      "beijing-region-controller",
      {
        context: { ...context, ...changes.context },
        settings: regionControllerSettings.parse(changes.settings ?? {}),
        regions: DEFAULT_REGIONS,
        links: DEFAULT_LINKS,
        postgres: {
          nodeHosts: pulumi.output(["postgresql-beijing-0.nodes", "postgresql-beijing-1.nodes"]),
          primaryHost: pulumi.output("postgresql.iam.svc.cluster.local"),
          database: "iam",
        },
        redis: {
          host: "redis.iam.svc.cluster.local",
          port: 6379,
          user: "sync",
          copy: ["session:"],
          invalidate: ["cache:"],
        },
        tlsSecret: "region-tls",
        passwords: { monitor: monitor!, patroniRestApi: patroniRestApi!, witness: witness!, redisSync: redisSync! },
        sharedSecrets: { postgresReplication: shared! },
        globalDns: { ttlSeconds: 5 },
        edgePort: 443,
        ...changes.args,
      },
      { providers: [provider] },
    );
    return { host: controller.host, port: controller.port };
  };
  return collect(program, { stack: "beijing", preview: changes.preview ?? false, compute: () => undefined });
}

interface Pod {
  metadata: { annotations: Record<string, string> };
  spec: Record<string, unknown> & {
    containers: (Record<string, unknown> & { args: string[]; volumeMounts: { name: string; mountPath: string }[] })[];
    volumes: { name: string; secret?: { defaultMode: number } }[];
  };
}

describe("RegionController", () => {
  let all: Collected;
  const find = (type: string, name: string, from = all) => {
    const found = from.resources.filter(
      (r) => r.type.endsWith(`:${type}`) && (r.inputs["metadata"] as { name?: string } | undefined)?.name === name,
    );
    assert.equal(found.length, 1, `${type} ${name}`);
    return found[0]!;
  };
  const pod = (from = all) =>
    (find("Deployment", "region-controller", from).inputs["spec"] as { template: Pod }).template;
  const file = (from = all) =>
    regionConfig.parse(
      JSON.parse(
        (find("ConfigMap", "region-controller", from).inputs["data"] as Record<string, string>)["region.json"]!,
      ),
    );
  before(async () => {
    all = await run();
  });

  it("tells where it is, by a name that its certificate is good for", () => {
    assert.deepEqual([all.outputs["host"], all.outputs["port"]], ["region-controller.iam.svc.cluster.local", 8443]);
    const names = certificateDnsNames(context, "iam").region;
    assert.ok(names.includes(all.outputs["host"] as string));
    assert.equal(names[0], file().regions["beijing"]!.controller.host, "peers know it by this name");
  });

  it("gives it a file that it accepts, with every region by the convention of names", () => {
    const config = file();
    assert.deepEqual([config.region, config.role], ["beijing", "active"]);
    assert.deepEqual(config.regions["shanghai"], {
      priority: 2,
      initiallyActive: false,
      controller: { host: "region-shanghai.iam.example.com", port: 8443 },
      postgres: { host: "postgresql-shanghai.iam.example.com", port: 5432 },
      slot: "shanghai",
      witness: "https://witness-shanghai.iam.example.com:2379",
      edge: { host: "api-shanghai.iam.example.com", port: 443 },
    });
    assert.deepEqual(
      Object.entries(config.regions)
        .filter(([, r]) => r.initiallyActive)
        .map(([name]) => name),
      ["beijing"],
    );
    assert.deepEqual(config.postgres.patroni, [
      "https://postgresql-beijing-0.nodes:8008",
      "https://postgresql-beijing-1.nodes:8008",
    ]);
    assert.deepEqual(config.links, DEFAULT_LINKS);
    assert.deepEqual(config.dns, { name: "api.iam.example.com", ttlSeconds: 5 });
    assert.deepEqual(config.monitor, {
      intervalMillis: 1000,
      maxLagSeconds: 30,
      maxErrors: 10,
      sourceLostSeconds: 20,
      consistencyMillis: 300_000,
    });
  });

  it("mounts every file that the configuration names", async () => {
    const config = file();
    const { containers, volumes } = pod().spec;
    const mounts = containers[0]!.volumeMounts;
    const mounted = (path: string) => mounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`))?.name;
    const secretKeys = (name: string) => Object.keys(find("Secret", name).inputs["stringData"] as object);
    for (const path of [
      config.witness.passwordFile,
      config.postgres.passwordFile,
      config.postgres.patroniPasswordFile,
      config.redis.passwordFile,
    ]) {
      assert.equal(mounted(path), "passwords");
      assert.ok(secretKeys("region-controller-passwords").includes(path.split("/").at(-1)!), path);
    }
    for (const path of Object.values(config.secrets)) {
      assert.equal(mounted(path), "shared");
      assert.ok(secretKeys("region-controller-shared").includes(path.split("/").at(-1)!), path);
    }
    for (const path of Object.values(config.tls)) assert.equal(mounted(path), "tls");
    assert.equal(mounted(containers[0]!.args.at(-1)!), "config");
    for (const volume of volumes) if (volume.secret) assert.equal(volume.secret.defaultMode, 0o440, volume.name);
  });

  it("has secrets in its Secrets alone, marked secret", () => {
    for (const resource of all.resources) {
      const text = JSON.stringify(resource.inputs);
      if (resource.type.endsWith(":Secret")) assert.ok(resource.secretPaths.length > 0, resource.urn);
      else for (const secret of SECRETS) assert.ok(!text.includes(secret), resource.urn);
    }
  });

  it("is restricted, has no token and no right, and is probed for its loops only", () => {
    const { spec } = pod();
    assert.equal(spec["automountServiceAccountToken"], false);
    assert.deepEqual(
      all.resources.filter((r) => r.type.includes("rbac")),
      [],
    );
    const [container] = spec.containers;
    assert.deepEqual(container!["securityContext"], {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    for (const probe of ["readinessProbe", "livenessProbe"])
      assert.deepEqual((container![probe] as { httpGet: unknown }).httpGet, { path: "/healthz", port: "status" });
    const deployment = find("Deployment", "region-controller").inputs["spec"] as Record<string, unknown>;
    assert.deepEqual([deployment["replicas"], deployment["strategy"]], [1, { type: "Recreate" }]);
    assert.ok(container!.args.includes("--max-old-space-size=128"));
  });

  it("is reached by the other regions, its edge and its database, and reaches what it asks, and nothing else", () => {
    const { ingress, egress } = find("NetworkPolicy", "region-controller").inputs["spec"] as Record<
      "ingress" | "egress",
      { from?: Peer[]; to?: Peer[]; ports: { port: number }[] }[]
    >;
    type Peer = { podSelector?: { matchLabels: Record<string, string> }; ipBlock?: { cidr: string } };
    const shown = (rules: typeof ingress) =>
      rules.map(({ from, to, ports }) => [
        (from ?? to ?? []).map((p) => p.podSelector?.matchLabels["app.kubernetes.io/name"] ?? p.ipBlock!.cidr),
        ports.map(({ port }) => port),
      ]);
    assert.deepEqual(shown(ingress), [
      [["edge", "postgresql", "10.2.0.0/16", "10.3.0.0/16"], [8443]],
      [["monitoring"], [8080]],
    ]);
    assert.deepEqual(shown(egress), [
      [["postgresql"], [5432, 8008]],
      [["redis"], [6379]],
      [["witness"], [2379]],
      [
        ["10.2.0.0/16", "10.3.0.0/16"],
        [2379, 8443],
      ],
      [[], [53, 53]],
    ]);
  });

  it("is published under its region's name", () => {
    const { metadata, spec } = find("Service", "region-controller").inputs as {
      metadata: { annotations: Record<string, string> };
      spec: Record<string, unknown>;
    };
    assert.equal(metadata.annotations["external-dns.alpha.kubernetes.io/hostname"], "region-beijing.iam.example.com");
    assert.deepEqual([spec["type"], spec["loadBalancerClass"]], ["LoadBalancer", "internal"]);
  });

  it("restarts for a changed configuration and not for a changed password", async () => {
    const sum = (from: Collected) => pod(from).metadata.annotations["iam-ha/config-sha256"];
    assert.match(sum(all)!, /^[0-9a-f]{64}$/);
    assert.notEqual(sum(await run({ settings: { maxErrors: 5 } })), sum(all));
    const rotated = await run({ args: { sharedSecrets: { postgresReplication: "rotated-0000000001" } } });
    assert.equal(sum(rotated), sum(all));
  });

  it("registers the same resources in a preview, and keeps secrets", async () => {
    const preview = await run({ preview: true });
    assert.deepEqual(preview.resources.map((r) => r.urn).sort(), all.resources.map((r) => r.urn).sort());
    for (const resource of preview.resources.filter((r) => r.type.endsWith(":Secret")))
      assert.ok(resource.secretPaths.length > 0, resource.urn);
    for (const resource of all.resources.filter((r) => r.custom && !r.type.startsWith("pulumi:")))
      assert.match(resource.parent, /iam-ha:region-controller:RegionController/, resource.urn);
  });

  it("refuses a region that is not in the topology, with the path", async () => {
    await assert.rejects(run({ context: { region: "guangzhou" } }), (error) => {
      assert.ok(pulumi.InputPropertiesError.isInstance(error));
      assert.deepEqual(
        error.errors?.map(({ propertyPath }) => propertyPath),
        ["regions"],
      );
      return true;
    });
  });
});
