import { join } from "node:path";
import { endpointName, ENDPOINTS, globalName, SERVICES, type Endpoint } from "../../../components/common/names.ts";
import { addresses, clusterDomain, regionNames, type RegionName, type RegionPlan } from "./regions.ts";

/** Paths of the programs a region runs. */
export interface Programs {
  /** Folder with the links kube-apiserver, kubelet, kubectl, … */
  readonly kube: string;
  readonly hostkit: string;
  readonly containerd: string;
  readonly ctr: string;
  readonly etcd: string;
  /** Folders for PATH: shim, runc, iptables. */
  readonly path: readonly string[];
  readonly cniPlugins: string;
}

/** Image references of the cluster itself. */
export interface SystemImages {
  readonly pause: string;
  readonly coredns: string;
}

/**
 * containerd's settings in configuration version 2: 1.6 and 1.7 (Debian 12 and 13) read it as it is, 2.x converts it.
 */
export function containerdToml(plan: RegionPlan, programs: Programs, images: SystemImages): string {
  const cri = `[plugins."io.containerd.grpc.v1.cri"`;
  return `version = 2
root = ${q(join(plan.state, "containerd"))}
state = ${q(join(plan.run, "containerd"))}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.internal.v1.restart",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri",
]
[grpc]
  address = ${q(plan.containerdSocket)}
[plugins."io.containerd.internal.v1.opt"]
  path = ${q(join(plan.state, "opt"))}
${cri}]
  # Lowering oom_score_adj below the own one takes CAP_SYS_RESOURCE, which root in a virtual machine or container may
  # lack; without this every sandbox would then fail with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # A profile loaded into the kernel would outlive the region.
  disable_apparmor = true
  sandbox_image = ${q(images.pause)}
  netns_mounts_under_state_dir = true
${cri}.cni]
  bin_dir = ${q(programs.cniPlugins)}
  conf_dir = ${q(join(plan.conf, "cni"))}
${cri}.containerd]
  snapshotter = "overlayfs"
${cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
${cri}.containerd.runtimes.runc.options]
  Root = ${q(join(plan.run, "runc"))}
  SystemdCgroup = false
`;
}

/** The pods' network: a bridge per node, addresses from the node's share of the pod range, no address translation. */
export function cniConfig(plan: RegionPlan): unknown {
  return {
    cniVersion: "0.4.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        // isDefaultGateway instead would fail with "file exists": the route is already among the ipam's.
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          // Below run: after a reboot no pod is left that could hold an address.
          dataDir: join(plan.run, "ipam"),
          ranges: [[{ subnet: podSubnet(plan) }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

/** The single node's share of the pod range: what the controller manager hands to the first node. */
function podSubnet(plan: RegionPlan): string {
  return plan.podCidr.replace(/\/\d+$/, "/24");
}

export function kubeletConfig(plan: RegionPlan): unknown {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    failCgroupV1: false,
    failSwapOn: false,
    cgroupDriver: "cgroupfs",
    cgroupRoot: plan.cgroup,
    clusterDNS: [plan.dnsService],
    clusterDomain: plan.domain,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(plan.pki, "ca.crt") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: join(plan.pki, "kubelet.crt"),
    tlsPrivateKeyFile: join(plan.pki, "kubelet.key"),
    containerRuntimeEndpoint: `unix://${plan.containerdSocket}`,
    resolvConf: join(plan.conf, "resolv.conf"),
    podLogsDir: join(plan.state, "pod-logs"),
    volumePluginDir: join(plan.state, "volume-plugins"),
    containerLogMaxSize: "8Mi",
    containerLogMaxFiles: 2,
    // There is no registry to fetch an image from again.
    imageGCHighThresholdPercent: 100,
    imageMinimumGCAge: "0s",
    evictionHard: { "memory.available": "100Mi", "nodefs.available": "2%", "imagefs.available": "2%" },
    maxPods: 110,
    registerNode: true,
  };
}

/** Secrets are encrypted in etcd: a copy of its files alone gives none away. */
export function encryptionConfig(keyBase64: string): unknown {
  return {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources: [
      {
        resources: ["secrets"],
        providers: [{ secretbox: { keys: [{ name: "key1", secret: keyBase64 }] } }, { identity: {} }],
      },
    ],
  };
}

/** A client's kubeconfig inside the region's network namespace. */
export function clientKubeconfig(plan: RegionPlan, client: string): unknown {
  return kubeconfig(client, [
    {
      name: client,
      server: "https://127.0.0.1:6443",
      cluster: { "certificate-authority": join(plan.pki, "ca.crt") },
      user: {
        "client-certificate": join(plan.pki, `${client}.crt`),
        "client-key": join(plan.pki, `${client}.key`),
      },
    },
  ]);
}

/** A region as the administrator's kubeconfig on the host knows it; certificates in base64. */
export interface HostContext {
  readonly plan: RegionPlan;
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

export function hostKubeconfig(contexts: readonly HostContext[]): unknown {
  return kubeconfig(
    contexts[0]?.plan.context ?? "",
    contexts.map(({ plan, authority, certificate, key }) => ({
      name: plan.context,
      server: `https://127.0.0.1:${plan.ports.api}`,
      cluster: { "certificate-authority-data": authority },
      user: { "client-certificate-data": certificate, "client-key-data": key },
    })),
  );
}

interface Entry {
  readonly name: string;
  readonly server: string;
  readonly cluster: Readonly<Record<string, string>>;
  readonly user: Readonly<Record<string, string>>;
}

function kubeconfig(current: string, entries: readonly Entry[]): unknown {
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": current,
    clusters: entries.map((e) => ({ name: e.name, cluster: { server: e.server, ...e.cluster } })),
    users: entries.map((e) => ({ name: e.name, user: e.user })),
    contexts: entries.map((e) => ({ name: e.name, context: { cluster: e.name, user: e.name } })),
  };
}

/** Port of CoreDNS in its pod: the one that everybody expects. A NetworkPolicy that lets a pod ask for names says port 53,
 *  and is held against the pod's port, after the Service's address has been translated. */
export const DNS_PORT = 53;

/** What the embedded platform is called, and the namespace that holds it: the defaults of the stack's config. */
export const PLATFORM = { domain: "iam.example.com", namespace: "iam" } as const;

/** The Service behind each name that a region publishes. */
const ENDPOINT_SERVICES: Readonly<Record<Endpoint, string>> = {
  api: SERVICES.edge,
  postgresql: SERVICES.postgresPrimary,
  redis: SERVICES.redis,
  witness: SERVICES.witness,
  region: SERVICES.regionController,
};

/**
 * The region's DNS. Names of the other regions go to their own servers, so that a name means one thing everywhere. A
 * region that does not answer costs its own names' lookups a second or two until two probes have failed; from then on
 * they fail at once, so that programs go on to what is there. The names that regions publish under the platform's domain
 * lead to the Services behind them, and the platform's one name to whichever of the regions' own servers answers first.
 * Every other name has no answer: the regions' network leads nowhere else. `*.server` files of the optional ConfigMap
 * `coredns-custom` add server blocks.
 */
export function corefile(plan: RegionPlan): string {
  const others = regionNames.filter((other) => other !== plan.region);
  return [
    ownZone(plan),
    ...others.map((other) =>
      block([clusterDomain(other)], [...forwardTo(other), "cache 5 {", "    denial 512 1", "}"]),
    ),
    ...regionNames.map((region) => endpointZone(plan, region)),
    globalZone([plan.region, ...others]),
    "import /etc/coredns-custom/*.server\n",
  ].join("");
}

function ownZone(plan: RegionPlan): string {
  const zones = [plan.domain, "in-addr.arpa", "ip6.arpa"];
  const own = block(zones, [
    "health :8080 {",
    "    lameduck 1s",
    "}",
    "ready :8181",
    "prometheus :9153",
    `kubernetes ${zones.join(" ")} {`,
    "    pods insecure",
    "    ttl 5",
    "}",
    "cache 5",
    "loadbalance",
    "reload 10s 2s",
  ]);
  // A block of its own, because the template plugin comes before kubernetes whatever their order here.
  return own + block(["."], ["template ANY ANY {", "    rcode NXDOMAIN", "}"]);
}

/** `postgresql-beijing.iam.example.com` and the like; answers carry the name that was asked for. */
function endpointZone(plan: RegionPlan, region: RegionName): string {
  const names = ENDPOINTS.map((endpoint) => endpointName(endpoint, region, PLATFORM.domain));
  const rewrites = ENDPOINTS.map((endpoint, i) => {
    const service = `${ENDPOINT_SERVICES[endpoint]}.${PLATFORM.namespace}.svc.${clusterDomain(region)}`;
    return `rewrite name exact ${names[i]} ${service} answer auto`;
  });
  const forward = region === plan.region ? [`forward . 127.0.0.1:${DNS_PORT}`] : forwardTo(region);
  return block(names, [...rewrites, ...forward, "cache 5 {", "    denial 512 1", "}"]);
}

/** The own server first: it needs no other region. It is asked again after a second, for the record is what moves when
 *  activity moves. */
function globalZone(order: readonly RegionName[]): string {
  const name = globalName(PLATFORM.domain);
  return block(
    [name],
    [
      `forward . ${order.map((region) => addresses(region).globalDns).join(" ")} {`,
      "    policy sequential",
      "    failover SERVFAIL REFUSED",
      "    max_fails 2",
      "    read_timeout 1s",
      "    failfast_all_unhealthy_upstreams",
      `    health_check 1s domain ${name}`,
      "}",
      "cache 1",
    ],
  );
}

function forwardTo(region: RegionName): string[] {
  return [
    `forward . ${addresses(region).dnsService} {`,
    "    max_fails 2",
    "    read_timeout 1s",
    "    failfast_all_unhealthy_upstreams",
    `    health_check 1s domain kubernetes.default.svc.${clusterDomain(region)}`,
    "}",
  ];
}

function block(zones: readonly string[], lines: readonly string[]): string {
  const inside = ["errors", ...lines].map((line) => `    ${line}\n`).join("");
  return `${zones.map((zone) => `${zone}:${DNS_PORT}`).join(" ")} {\n${inside}}\n`;
}

/** A TOML basic string. */
function q(text: string): string {
  return JSON.stringify(text);
}
