import assert from "node:assert/strict";
import { dirname } from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { wanSettings } from "../../components/common/wan.ts";
import { GlobalDns, type GlobalDnsArgs } from "../../components/global-dns/global-dns.ts";
import { globalDnsSettings } from "../../components/global-dns/settings.ts";
import { collect, type Collected, type RegisteredResource } from "../../scripts/render/collect.ts";
import { dnsSidecarConfig } from "../../sidecar/core/dns-sidecar-config.ts";
import { regionContext } from "../support/context.ts";

const WAN = wanSettings.parse({ peerNetworks: ["10.12.0.0/16"] });
const PASSWORD = "dns-password-00000000001";

function globalDns(settings: object = {}, more: Partial<GlobalDnsArgs> = {}, preview = false): Promise<Collected> {
  const program = async () => {
    const provider = new k8s.Provider("shanghai", { context: "x" });
    const made = new GlobalDns(
      "shanghai-global-dns",
      {
        context: regionContext({ region: "shanghai", wan: WAN }),
        settings: globalDnsSettings.parse({ provider: "coredns", ...settings }),
        regions: ["beijing", "shanghai", "shenzhen"],
        tlsSecret: "dns-tls",
        password: pulumi.secret(PASSWORD),
        ...more,
      },
      { providers: [provider] },
    );
    return { hostname: made.hostname, serviceName: made.serviceName };
  };
  return collect(program, { stack: "shanghai", preview });
}

const own = ({ resources }: Collected) => resources.filter(({ type }) => type.startsWith("kubernetes:"));
function only(collected: Collected, kind: string): RegisteredResource {
  const found = own(collected).filter(({ type }) => type.endsWith(`:${kind}`));
  assert.equal(found.length, 1, kind);
  return found[0]!;
}
const specOf = <T>(collected: Collected, kind: string) => only(collected, kind).inputs["spec"] as T;
const podOf = (collected: Collected) =>
  specOf<k8s.types.output.apps.v1.DeploymentSpec>(collected, "Deployment").template.spec;

for (const preview of [true, false]) {
  describe(`the GlobalDns component (${preview ? "preview" : "update"})`, () => {
    it("makes its objects as its children, through the region's provider, and shows its password to nobody", async () => {
      const all = await globalDns({}, {}, preview);
      assert.deepEqual(
        own(all)
          .map(({ type }) => type.split(":").at(-1)!)
          .sort(),
        [
          ...["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Secret"],
          ...["Service", "ServiceAccount"],
        ],
      );
      for (const resource of own(all)) {
        assert.match(resource.parent, /iam-ha:global-dns:GlobalDns::shanghai-global-dns$/);
        assert.match(resource.provider, /pulumi:providers:kubernetes::shanghai::/);
        assert.equal((resource.inputs["metadata"] as { name: string }).name, "global-dns");
        if (!resource.type.endsWith(":Secret")) {
          assert.deepEqual(resource.secretPaths, []);
          assert.ok(!JSON.stringify(resource.inputs).includes(PASSWORD), resource.type);
        }
      }
      assert.deepEqual(
        only(all, "Secret").secretPaths.map((path) => path[0]),
        ["stringData"],
      );
      assert.deepEqual(all.outputs, { hostname: "api.iam.example.com", serviceName: "global-dns" });
    });

    it("makes nothing for a name that is kept by other means", async () => {
      const all = await globalDns({}, { settings: globalDnsSettings.parse({ provider: "none" }) }, preview);
      assert.deepEqual(own(all), []);
      assert.deepEqual(all.outputs, { hostname: "api.iam.example.com", serviceName: "" });
    });
  });
}

describe("the GlobalDns component", () => {
  it("answers for the one name and for those of edges", async () => {
    const data = only(await globalDns(), "ConfigMap").inputs["data"] as Record<string, string>;
    const blocks = data["Corefile"]!.match(/^\S.*\{$/gm);
    assert.deepEqual(blocks, [
      "api.iam.example.com:53 {",
      "api-beijing.iam.example.com:53 api-shanghai.iam.example.com:53 api-shenzhen.iam.example.com:53 {",
    ]);
    assert.match(data["Corefile"]!, /serve_stale 24h verify 500ms 5s 5s/);
    assert.match(data["Corefile"]!, /success 1024 5 1/);
    const sidecar = dnsSidecarConfig.parse(JSON.parse(data["sidecar.json"]!));
    assert.deepEqual(sidecar.witness, [
      "https://witness-shanghai.iam.example.com:2379",
      "https://witness-beijing.iam.example.com:2379",
      "https://witness-shenzhen.iam.example.com:2379",
    ]);
    const pod = podOf(await globalDns());
    const mounts = pod.containers.find(({ name }) => name === "dns-sidecar")!.volumeMounts;
    const folders = new Set(mounts.map(({ mountPath }) => mountPath));
    for (const file of [sidecar.passwordFile, ...Object.values(sidecar.tls), `${sidecar.folder}/x`])
      assert.ok(folders.has(dirname(file)), file);
    assert.match(data["Corefile"]!, new RegExp(`import ${sidecar.folder}/\\*\\.conf`));
  });

  it("runs restricted pods that write nowhere but where CoreDNS gets its way to the witness", async () => {
    const pod = podOf(await globalDns());
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(pod.securityContext.runAsNonRoot, true);
    assert.deepEqual(pod.securityContext.sysctls, [{ name: "net.ipv4.ip_unprivileged_port_start", value: "53" }]);
    const [coredns, sidecar] = pod.containers;
    assert.equal(coredns!.image, "docker.io/coredns/coredns:1.14.7");
    assert.equal(sidecar!.image, "registry.example.com/iam-ha/node:0.1.0");
    for (const { securityContext, resources, livenessProbe } of pod.containers) {
      assert.equal(securityContext.allowPrivilegeEscalation, false);
      assert.equal(securityContext.readOnlyRootFilesystem, true);
      assert.deepEqual(securityContext.capabilities.drop, ["ALL"]);
      assert.ok(resources.requests.cpu && resources.limits.memory && livenessProbe);
    }
    assert.deepEqual(coredns!.securityContext.capabilities.add, ["NET_BIND_SERVICE"]);
    const writable = ({ volumeMounts }: typeof coredns & object) =>
      volumeMounts.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath);
    assert.deepEqual(writable(coredns!), []);
    assert.deepEqual(writable(sidecar!), ["/run/global-dns"]);
    // The password is in it.
    assert.equal(pod.volumes.find(({ name }) => name === "source")!.emptyDir.medium, "Memory");
    for (const { secret } of pod.volumes.filter((volume) => volume.secret)) assert.equal(secret.defaultMode, 0o440);
    // Readiness asks for what answers without the witness.
    assert.deepEqual(coredns!.readinessProbe.httpGet, { path: "/ready", port: 8181 });
    assert.equal(sidecar!.readinessProbe, undefined);
  });

  it("lets anyone ask, and asks the witness of every region", async () => {
    const policy = specOf<k8s.types.output.networking.v1.NetworkPolicySpec>(await globalDns(), "NetworkPolicy");
    const [names, metrics] = policy.ingress;
    assert.equal(names!.from, undefined);
    assert.deepEqual(
      names!.ports.map(({ protocol, port }) => [protocol, port]),
      [
        ["UDP", 53],
        ["TCP", 53],
      ],
    );
    assert.equal(metrics!.from[0]!.podSelector.matchLabels["app.kubernetes.io/name"], "monitoring");
    const [witness, resolver] = policy.egress;
    assert.deepEqual(witness, {
      to: [
        {
          podSelector: {
            matchLabels: { "app.kubernetes.io/name": "witness", "app.kubernetes.io/instance": "shanghai" },
          },
        },
        { ipBlock: { cidr: "10.12.0.0/16" } },
      ],
      ports: [{ protocol: "TCP", port: 2379 }],
    });
    assert.equal(resolver!.to, undefined);
  });

  it("shows its Service as it is told to, and one pod needs no budget", async () => {
    const fixed = await globalDns({ replicas: 1, service: { type: "ClusterIP", clusterIP: "10.112.0.53" } });
    const service = specOf<k8s.types.output.core.v1.ServiceSpec>(fixed, "Service");
    assert.deepEqual([service.type, service.clusterIP], ["ClusterIP", "10.112.0.53"]);
    assert.ok(own(fixed).every(({ type }) => !type.endsWith(":PodDisruptionBudget")));
    const cloud = await globalDns({
      service: { annotations: { "example.com/kind": "nlb" }, loadBalancerClass: "x/y" },
    });
    const meta = only(cloud, "Service").inputs["metadata"] as { annotations: Record<string, string> };
    assert.equal(meta.annotations["example.com/kind"], "nlb");
    assert.equal(specOf<k8s.types.output.core.v1.ServiceSpec>(cloud, "Service").type, "LoadBalancer");
  });

  it("refuses what cannot work, in words", async () => {
    const path = (value: object) => {
      const result = globalDnsSettings.safeParse(value);
      assert.equal(result.success, false, JSON.stringify(value));
      return result.error.issues.map((issue) => issue.path.join(".")).join();
    };
    assert.equal(path({ provider: "route53" }), "provider");
    assert.equal(path({ provider: "coredns", image: "coredns/coredns:latest" }), "image");
    assert.equal(path({ provider: "coredns", service: { clusterIP: "global-dns" } }), "service.clusterIP");
    assert.equal(
      path({ provider: "coredns", service: { type: "ClusterIP", loadBalancerClass: "x" } }),
      "service.loadBalancerClass",
    );
    assert.equal(path({ provider: "none", replicas: 2 }), "");
    await assert.rejects(globalDns({}, { regions: ["beijing", "shenzhen"] }), (error: pulumi.InputPropertiesError) => {
      assert.equal(error.errors[0]!.propertyPath, "regions");
      return true;
    });
  });
});
