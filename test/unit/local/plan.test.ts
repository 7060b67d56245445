import assert from "node:assert/strict";
import { cgroupLayout, missingControllers, trackingRoot } from "../../../scripts/local/plan/cgroups.ts";
import {
  containerdToml,
  corefile,
  encryptionConfig,
  hostKubeconfig,
  kubeletConfig,
  type Programs,
} from "../../../scripts/local/plan/configs.ts";
import {
  daemonArgv,
  daemonNames,
  needsApi,
  relayConfig,
  routes,
  stopOrder,
} from "../../../scripts/local/plan/daemons.ts";
import { planInstance } from "../../../scripts/local/plan/instance.ts";
import { objectPath, systemObjects } from "../../../scripts/local/plan/manifests.ts";
import { kubeconfigClients, pkiConfig } from "../../../scripts/local/plan/pki.ts";
import { addresses, planRegion, regionNames } from "../../../scripts/local/plan/regions.ts";

const plan = planRegion(planInstance({ IAM_HA_HOME: "/state" }, "unit"), "shanghai");
const images = { pause: "localhost/iam-ha/pause:1", coredns: "localhost/iam-ha/coredns:1" };
const programs: Programs = {
  kube: "/cache/kube",
  hostkit: "/cache/hostkit",
  containerd: "/deb/usr/bin/containerd",
  ctr: "/deb/usr/bin/ctr",
  etcd: "/deb/usr/bin/etcd",
  path: ["/deb/usr/bin", "/usr/bin"],
  cniPlugins: "/deb/usr/lib/cni",
};

describe("plan of the daemons", () => {
  it("stops every daemon once, etcd after all that write to it", () => {
    const order = stopOrder.flat();
    assert.deepEqual([...order].sort(), [...daemonNames].sort());
    for (const writer of ["kubelet", "kube-controller-manager", "kube-scheduler", "kube-apiserver"] as const) {
      assert.ok(order.indexOf(writer) < order.indexOf("etcd"), writer);
    }
  });

  it("starts the mount namespace first and the API server before its clients", () => {
    assert.equal(daemonNames[0], "namespace");
    for (const client of needsApi)
      assert.ok(daemonNames.indexOf(client) > daemonNames.indexOf("kube-apiserver"), client);
  });

  it("puts no secret into a command line", () => {
    const words = Object.values(daemonArgv(plan, programs)).flat();
    assert.ok(words.length > 60);
    assert.deepEqual(
      words.filter((word) => /password|token=|BEGIN|[A-Za-z0-9+/]{40,}={0,2}$/i.test(word.replace(/\/\S+/g, ""))),
      [],
    );
  });

  it("keeps etcd, the controllers and all that has no business with the network on the loopback", () => {
    const argv = daemonArgv(plan, programs);
    const urls = argv.etcd.filter((word) => word.includes("://"));
    assert.ok(urls.length >= 4 && urls.every((word) => word.includes("//127.0.0.1:")));
    assert.ok(argv["kube-scheduler"].includes("--bind-address=127.0.0.1"));
    assert.ok(argv["kube-controller-manager"].includes("--bind-address=127.0.0.1"));
  });

  it("has the programs of the containers found in one region only", () => {
    const toml = containerdToml(plan, programs, images);
    for (const folder of [
      "/state/unit/shanghai/containerd",
      "/run/iam-ha/unit/shanghai/containerd",
      "/run/iam-ha/unit/shanghai/runc",
    ]) {
      assert.ok(toml.includes(JSON.stringify(folder)), folder);
    }
    const kubelet = kubeletConfig(plan) as Record<string, unknown>;
    assert.equal(kubelet.cgroupRoot, "/iam-ha-unit-shanghai");
    assert.equal(kubelet.clusterDomain, "cluster.shanghai");
    assert.deepEqual(kubelet.clusterDNS, ["10.112.0.10"]);
  });
});

describe("plan of the network", () => {
  it("leads to the pods and services of every other region and nowhere else", () => {
    const targets = routes(plan).map(([target]) => target);
    const others = regionNames.filter((region) => region !== "shanghai").map(addresses);
    assert.deepEqual(targets, [...others.flatMap((o) => [o.podCidr, o.serviceCidr]), plan.serviceCidr]);
  });

  it("relays the host's ports to the API server and the edge", () => {
    const { targets } = relayConfig(plan) as { targets: { listen: string; target: string; proxyProtocol: boolean }[] };
    assert.deepEqual(
      targets.map((t) => t.target),
      ["127.0.0.1:6443", "edge.iam.svc.cluster.shanghai:443", "edge.iam.svc.cluster.shanghai:80"],
    );
    assert.ok(targets.every((t) => t.listen.startsWith("127.0.0.1:") && !t.proxyProtocol));
  });

  it("relays to another edge when told, with the client's address when told", () => {
    const edge = { host: "10.112.9.9", httpsPort: 8443, httpPort: 8080, proxyProtocol: true };
    const { targets } = relayConfig(plan, edge) as { targets: { target: string; proxyProtocol: boolean }[] };
    assert.deepEqual(
      targets.map((t) => [t.target, t.proxyProtocol]),
      [
        ["127.0.0.1:6443", false],
        ["10.112.9.9:8443", true],
        ["10.112.9.9:8080", true],
      ],
    );
  });

  it("answers for its own names and forwards those of the other regions", () => {
    const text = corefile(plan);
    assert.match(text, /^cluster\.shanghai:53 in-addr\.arpa:53 ip6\.arpa:53 \{\n[^}]*health/);
    assert.match(text, /\ncluster\.beijing:53 \{\n {4}errors\n {4}forward \. 10\.111\.0\.10 \{/);
    assert.match(text, /\ncluster\.shenzhen:53 \{\n {4}errors\n {4}forward \. 10\.113\.0\.10 \{/);
    // Two regions, three regions' endpoints, the one name.
    assert.equal(text.match(/forward \./g)?.length, 6);
    assert.equal(text.match(/\{/g)?.length, text.match(/\}/g)?.length);
  });

  it("leads every published name to its Service, and the one name to the own region's server first", () => {
    const text = corefile(plan);
    for (const region of regionNames) {
      for (const [endpoint, service] of Object.entries({
        api: "edge",
        postgresql: "postgresql",
        redis: "redis",
        witness: "witness",
        region: "region-controller",
      })) {
        const name = `${endpoint}-${region}.iam.example.com`;
        assert.ok(text.includes(`${name}:53 `), name);
        assert.ok(
          text.includes(`    rewrite name exact ${name} ${service}.iam.svc.cluster.${region} answer auto\n`),
          name,
        );
      }
    }
    assert.match(
      text,
      /\napi\.iam\.example\.com:53 \{\n[^}]*forward \. 10\.112\.0\.53 10\.111\.0\.53 10\.113\.0\.53 \{/,
    );
  });
});

describe("plan of the certificates", () => {
  it("covers the ways to the API server and gives each client its own name", () => {
    const { leaves } = pkiConfig(plan);
    const server = leaves.find((leaf) => leaf.name === "apiserver")!;
    assert.deepEqual(server.ipAddresses, ["127.0.0.1", plan.node, plan.apiService]);
    assert.ok(server.dnsNames?.includes("kubernetes.default.svc.cluster.shanghai"));
    const names = leaves.map((leaf) => leaf.commonName);
    assert.equal(new Set(names).size, names.length);
    for (const client of kubeconfigClients)
      assert.ok(
        leaves.some((leaf) => leaf.name === client && leaf.client),
        client,
      );
  });

  it("makes administrators of none but the administrator and the API server towards the kubelet", () => {
    const masters = pkiConfig(plan).leaves.filter((leaf) => leaf.organizations?.includes("system:masters"));
    assert.deepEqual(
      masters.map((leaf) => leaf.name),
      ["admin", "apiserver-kubelet-client"],
    );
  });

  it("writes one context per region for the host", () => {
    const contexts = regionNames.map((region) => ({
      plan: planRegion(planInstance({}), region),
      authority: "YQ==",
      certificate: "Yg==",
      key: "Yw==",
    }));
    const config = hostKubeconfig(contexts) as {
      contexts: { name: string }[];
      clusters: { cluster: { server: string } }[];
    };
    assert.deepEqual(
      config.contexts.map((c) => c.name),
      ["iam-ha-beijing", "iam-ha-shanghai", "iam-ha-shenzhen"],
    );
    assert.deepEqual(
      config.clusters.map((c) => c.cluster.server),
      ["https://127.0.0.1:16441", "https://127.0.0.1:16442", "https://127.0.0.1:16443"],
    );
  });

  it("encrypts Secrets before it reads unencrypted ones", () => {
    const { resources } = encryptionConfig("a2V5") as { resources: { resources: string[]; providers: object[] }[] };
    assert.deepEqual(resources[0]?.resources, ["secrets"]);
    assert.deepEqual(
      resources[0]?.providers.map((p) => Object.keys(p)[0]),
      ["secretbox", "identity"],
    );
  });
});

describe("objects of the cluster itself", () => {
  const objects = systemObjects(plan, images);

  it("have a path in the API each, all different", () => {
    const paths = objects.map(objectPath);
    assert.equal(new Set(paths).size, objects.length);
    assert.ok(paths.includes("/apis/apps/v1/namespaces/kube-system/deployments/coredns"));
    assert.throws(() => objectPath({ apiVersion: "v1", kind: "Gadget", metadata: { name: "x" } }), /Gadget/);
  });

  it("make volumes by default where the pod is, and remove them with the claim", () => {
    const found = objects.find((o) => o.kind === "StorageClass")!;
    assert.equal(found.metadata.name, "local");
    assert.equal(found.volumeBindingMode, "WaitForFirstConsumer");
    assert.equal(found.reclaimPolicy, "Delete");
  });

  it("run DNS as the restricted profile asks, from the image that was built", () => {
    const spec = (
      objects.find((o) => o.kind === "Deployment") as unknown as {
        spec: {
          template: { spec: { securityContext: object; containers: { image: string; securityContext: object }[] } };
        };
      }
    ).spec.template.spec;
    assert.deepEqual(spec.containers[0]?.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    assert.equal((spec.securityContext as { runAsNonRoot: boolean }).runAsNonRoot, true);
    assert.equal(spec.containers[0]?.image, images.coredns);
  });
});

describe("control groups", () => {
  const V1 = `tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`;
  const V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n";

  it("are version 1 where a hybrid machine has its controllers there", () => {
    const layout = cgroupLayout(V1)!;
    assert.equal(layout.version, 1);
    assert.deepEqual(layout.version === 1 && layout.hierarchies.map((h) => h.controllers), [
      ["cpu", "cpuacct"],
      ["cpuset"],
      ["memory"],
      ["pids"],
      [],
    ]);
    assert.equal(trackingRoot(layout), "/sys/fs/cgroup/pids");
    assert.deepEqual(missingControllers(layout, []), []);
  });

  it("are version 2 as on Debian", () => {
    const layout = cgroupLayout(V2)!;
    assert.deepEqual(layout, { version: 2, root: "/sys/fs/cgroup" });
    assert.deepEqual(missingControllers(layout, ["cpu", "memory", "pids"]), ["cpuset"]);
    assert.equal(trackingRoot(layout), "/sys/fs/cgroup");
  });

  it("are missing where none are mounted", () => {
    assert.equal(cgroupLayout("proc /proc proc rw 0 0\n"), undefined);
    assert.deepEqual(missingControllers(cgroupLayout(V1.replace(/^.*cpuset.*\n/m, ""))!, []), ["cpuset"]);
  });
});
