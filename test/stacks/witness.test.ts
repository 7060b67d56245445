import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RegionContext } from "../../components/common/context.ts";
import { imageSettings } from "../../components/common/images.ts";
import { wanSettings } from "../../components/common/wan.ts";
import type { WitnessConfig } from "../../components/witness/plan.ts";
import { witnessSettings } from "../../components/witness/settings.ts";
import { Witness } from "../../components/witness/witness.ts";
import { collect, type Collected, type RegisteredResource } from "../../scripts/render/collect.ts";
import { regionContext } from "../support/context.ts";

const PASSWORDS = { root: "a-root-password-01", controller: "a-controller-password", dns: "a-dns-password-001" };
const REGIONS = ["beijing", "shanghai", "shenzhen"];
const context = regionContext({
  images: imageSettings.parse({ tag: "1.2.3" }),
  wan: wanSettings.parse({ peerNetworks: ["10.20.0.0/16"], service: { annotations: { internal: "true" } } }),
});

function run(
  changes: { context?: Partial<RegionContext>; settings?: object; regions?: string[]; preview?: boolean } = {},
): Promise<Collected> {
  const program = async () => {
    const provider = new k8s.Provider("beijing", { context: "none" });
    const witness = new Witness(
      "beijing-witness",
      {
        context: { ...context, ...changes.context },
        settings: witnessSettings.parse(changes.settings ?? {}),
        regions: changes.regions ?? REGIONS,
        tlsSecret: "witness-tls",
        passwords: {
          root: pulumi.secret(PASSWORDS.root),
          controller: pulumi.secret(PASSWORDS.controller),
          dns: pulumi.secret(PASSWORDS.dns),
        },
      },
      { providers: [provider] },
    );
    return { url: witness.url, urls: witness.urls };
  };
  return collect(program, { stack: "beijing", preview: changes.preview ?? false });
}

interface Container {
  securityContext: object;
  args: string[];
  image: string;
  env: { name: string; value?: string }[];
  volumeMounts: { name: string }[];
  [probe: string]: unknown;
}
interface Pod {
  metadata: { annotations: Record<string, string> };
  spec: Record<string, unknown> & { containers: Container[]; volumes: { name: string }[] };
}

describe("Witness", () => {
  let all: Collected;
  const find = (type: string, name: string, from = all): RegisteredResource => {
    const found = from.resources.filter(
      (r) => r.type.endsWith(`:${type}`) && (r.inputs["metadata"] as { name?: string } | undefined)?.name === name,
    );
    assert.equal(found.length, 1, `${type} ${name}`);
    return found[0]!;
  };
  const specOf = (type: string, name: string, from = all) =>
    find(type, name, from).inputs["spec"] as Record<string, never>;
  const podOf = (from = all) => (specOf("StatefulSet", "witness", from) as unknown as { template: Pod }).template;
  before(async () => {
    all = await run();
  });

  it("tells where every region's member is", () => {
    assert.equal(all.outputs["url"], "https://witness-beijing.iam.example.com:2379");
    assert.deepEqual(Object.keys(all.outputs["urls"] as object), REGIONS);
  });

  it("has one pod with a volume that is kept, as is the Secret that opens it", async () => {
    const spec = specOf("StatefulSet", "witness");
    assert.equal(spec["replicas"], 1);
    assert.deepEqual(spec["persistentVolumeClaimRetentionPolicy"], { whenDeleted: "Retain", whenScaled: "Retain" });
    const [claim] = spec["volumeClaimTemplates"] as unknown as { spec: Record<string, unknown> }[];
    assert.deepEqual(claim!.spec["resources"], { requests: { storage: "2Gi" } });
    const kept = (from: Collected) =>
      from.resources.filter((r) => r.protect && r.retainOnDelete).map((r) => r.type.split(":").at(-1));
    assert.deepEqual(kept(all).sort(), ["Secret", "StatefulSet"]);
    assert.deepEqual(kept(await run({ context: { protect: false } })), []);
  });

  it("is reached by the other regions before it is ready, under its endpoint's name", () => {
    const service = find("Service", "witness").inputs;
    const { annotations } = service["metadata"] as { annotations: Record<string, string> };
    assert.equal(annotations["external-dns.alpha.kubernetes.io/hostname"], "witness-beijing.iam.example.com");
    assert.equal(annotations["internal"], "true");
    const spec = service["spec"] as { type: string; publishNotReadyAddresses: boolean; ports: { port: number }[] };
    assert.deepEqual([spec.type, spec.publishNotReadyAddresses], ["LoadBalancer", true]);
    assert.deepEqual(
      spec.ports.map(({ port }) => port),
      [2379, 2380],
    );
  });

  it("has passwords in its Secret alone, marked secret", () => {
    const secret = find("Secret", "witness-users");
    assert.deepEqual(secret.inputs["stringData"], PASSWORDS);
    assert.ok(secret.secretPaths.some(([first]) => first === "stringData"));
    for (const resource of all.resources) {
      if (resource === secret) continue;
      const text = JSON.stringify(resource.inputs);
      for (const password of Object.values(PASSWORDS)) assert.ok(!text.includes(password), resource.urn);
    }
  });

  it("admits controllers, DNS and monitoring as clients, and the other regions; nobody when there are none", async () => {
    type Rule = {
      from: { podSelector?: { matchLabels: Record<string, string> }; ipBlock?: { cidr: string } }[];
      ports: { port: number }[];
    };
    const rules = (from: Collected) =>
      (specOf("NetworkPolicy", "witness", from)["ingress"] as unknown as Rule[]).map((rule) => [
        rule.from.map((peer) => peer.podSelector?.matchLabels["app.kubernetes.io/name"] ?? peer.ipBlock?.cidr),
        rule.ports.map(({ port }) => port),
      ]);
    const own = [["region-controller", "global-dns", "monitoring"], [2379]];
    assert.deepEqual(rules(all), [own, [["10.20.0.0/16"], [2379, 2380]]]);
    const alone = await run({ context: { wan: wanSettings.parse({}) }, regions: ["beijing"] });
    assert.deepEqual(rules(alone), [own]);
  });

  it("is restricted, and its probes ask the process and not the majority", () => {
    const { spec } = podOf();
    assert.equal(spec["automountServiceAccountToken"], false);
    const [container] = spec.containers;
    assert.equal(container!.image, "registry.example.com/iam-ha/witness:1.2.3");
    assert.deepEqual(container!.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    for (const [probe, what] of [
      ["startupProbe", "alive"],
      ["livenessProbe", "alive"],
      ["readinessProbe", "ready"],
    ] as const)
      assert.deepEqual((container![probe] as { exec: unknown }).exec, { command: ["witness-probe", what] });
    const mounted = container!.volumeMounts.map(({ name }) => name).filter((name) => name !== "data");
    assert.deepEqual(mounted.sort(), spec.volumes.map(({ name }) => name).sort());
  });

  it("gives the member its configuration, and restarts it when that changes", async () => {
    const text = (from: Collected) =>
      (find("ConfigMap", "witness-config", from).inputs["data"] as Record<string, string>)["witness.json"]!;
    const config = JSON.parse(text(all)) as WitnessConfig;
    assert.deepEqual(Object.keys(config.members), REGIONS);
    assert.ok(config.etcd.includes("--election-timeout=1500"));
    const sum = (from: Collected) => podOf(from).metadata.annotations["iam-ha/config-sha256"];
    assert.match(sum(all)!, /^[0-9a-f]{64}$/);
    assert.equal(sum(await run()), sum(all));
    assert.notEqual(sum(await run({ settings: { electionTimeoutMillis: 2000 } })), sum(all));
  });

  it("registers the same resources in a preview", async () => {
    const preview = await run({ preview: true });
    assert.deepEqual(preview.resources.map((r) => r.urn).sort(), all.resources.map((r) => r.urn).sort());
  });

  it("puts everything under itself", () => {
    const own = all.resources.filter((r) => r.custom && !r.type.startsWith("pulumi:"));
    for (const resource of own) assert.match(resource.parent, /iam-ha:witness:Witness/, resource.urn);
  });

  it("refuses regions without this one, and one named twice, with the path", async () => {
    for (const regions of [["shanghai"], ["beijing", "shanghai", "shanghai"]]) {
      await assert.rejects(run({ regions }), (error) => {
        assert.ok(pulumi.InputPropertiesError.isInstance(error));
        assert.deepEqual(
          error.errors?.map(({ propertyPath }) => propertyPath),
          ["regions"],
        );
        return true;
      });
    }
  });
});
