import { join } from "node:path";
import { addresses, regionNames, type RegionPlan } from "./regions.ts";
import type { Programs } from "./configs.ts";

/**
 * Processes of a region in the order of their start. `namespace` holds the region's mount namespace; `relay` alone lives
 * in the host's network namespace.
 */
export const daemonNames = [
  "namespace",
  "relay",
  "etcd",
  "containerd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "volume-provisioner",
  "network-policy",
] as const;

export type DaemonName = (typeof daemonNames)[number];

/**
 * Order of the stop. What would start pods again goes first; then the pods themselves (not listed here); then the rest,
 * etcd last, because everything else may still want to write.
 */
export const stopOrder: readonly (readonly DaemonName[])[] = [
  ["kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "volume-provisioner", "network-policy"],
  ["containerd", "kube-apiserver"],
  ["etcd"],
  ["relay", "namespace"],
];

/** Daemons that wait for the API server: nothing is gained by starting them earlier. */
export const needsApi: ReadonlySet<DaemonName> = new Set<DaemonName>([
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "volume-provisioner",
  "network-policy",
]);

/** Log files are cut when they grow over this. */
export const MAX_LOG_BYTES = 16 * 1024 * 1024;

/** Where the host relay sends what comes in for the edge. A name is looked up by the region's DNS at each connection. */
export interface EdgeTarget {
  /** Host name or address in the region. Default `edge.iam.svc.<domain>`. */
  readonly host?: string;
  /** Default 443. */
  readonly httpsPort?: number;
  /** Default 80. */
  readonly httpPort?: number;
  /** Send a PROXY protocol v2 header with the client's address. Default false. */
  readonly proxyProtocol?: boolean;
}

export function relayConfig(plan: RegionPlan, edge: EdgeTarget = {}): unknown {
  const host = edge.host ?? `edge.iam.svc.${plan.domain}`;
  const proxyProtocol = edge.proxyProtocol ?? false;
  return {
    netns: plan.netnsPath,
    dns: `${plan.dnsService}:53`,
    logs: { glob: join(plan.logs, "*.log"), maxBytes: MAX_LOG_BYTES },
    targets: [
      { listen: `127.0.0.1:${plan.ports.api}`, target: "127.0.0.1:6443", proxyProtocol: false },
      { listen: `127.0.0.1:${plan.ports.https}`, target: `${host}:${edge.httpsPort ?? 443}`, proxyProtocol },
      { listen: `127.0.0.1:${plan.ports.http}`, target: `${host}:${edge.httpPort ?? 80}`, proxyProtocol },
    ],
  };
}

/** The command lines. Everything secret is in files of mode 0600, never in an argument. */
export function daemonArgv(plan: RegionPlan, programs: Programs): Readonly<Record<DaemonName, readonly string[]>> {
  const pki = (file: string) => join(plan.pki, file);
  const conf = (file: string) => join(plan.conf, file);
  const kube = (name: string) => join(programs.kube, name);
  return {
    namespace: [programs.hostkit, "pause"],
    relay: [programs.hostkit, "relay", "--config", conf("relay.json")],
    etcd: [
      programs.etcd,
      `--name=${plan.region}`,
      `--data-dir=${join(plan.state, "etcd")}`,
      // Reachable inside the network namespace only, where nothing but these daemons has the host's network.
      "--listen-client-urls=http://127.0.0.1:2379",
      "--advertise-client-urls=http://127.0.0.1:2379",
      "--listen-peer-urls=http://127.0.0.1:2380",
      "--initial-advertise-peer-urls=http://127.0.0.1:2380",
      `--initial-cluster=${plan.region}=http://127.0.0.1:2380`,
      // Written data is safe from any process's end: the kernel has it. Only a crash of the machine itself may lose the
      // last writes, which a cluster on one machine for trial and test can bear and its disk's latency cannot.
      "--unsafe-no-fsync",
      "--auto-compaction-mode=periodic",
      "--auto-compaction-retention=10m",
      "--logger=zap",
      "--log-level=warn",
    ],
    containerd: [programs.containerd, "--config", conf("containerd.toml"), "--log-level", "warn"],
    "kube-apiserver": [
      kube("kube-apiserver"),
      "--etcd-servers=http://127.0.0.1:2379",
      `--encryption-provider-config=${pki("encryption.json")}`,
      "--bind-address=0.0.0.0",
      "--secure-port=6443",
      `--advertise-address=${plan.node}`,
      `--tls-cert-file=${pki("apiserver.crt")}`,
      `--tls-private-key-file=${pki("apiserver.key")}`,
      `--client-ca-file=${pki("ca.crt")}`,
      `--service-account-key-file=${pki("service-accounts.pub")}`,
      `--service-account-signing-key-file=${pki("service-accounts.key")}`,
      `--service-account-issuer=https://kubernetes.default.svc.${plan.domain}`,
      `--service-cluster-ip-range=${plan.serviceCidr}`,
      "--authorization-mode=Node,RBAC",
      "--enable-admission-plugins=NodeRestriction",
      "--anonymous-auth=false",
      // Fairness between tenants costs CPU all the time, and here is one.
      "--enable-priority-and-fairness=false",
      `--kubelet-certificate-authority=${pki("ca.crt")}`,
      `--kubelet-client-certificate=${pki("apiserver-kubelet-client.crt")}`,
      `--kubelet-client-key=${pki("apiserver-kubelet-client.key")}`,
      "--kubelet-preferred-address-types=InternalIP",
      "--profiling=false",
    ],
    "kube-controller-manager": [
      kube("kube-controller-manager"),
      `--kubeconfig=${conf("kube-controller-manager.kubeconfig")}`,
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      `--service-account-private-key-file=${pki("service-accounts.key")}`,
      `--root-ca-file=${pki("ca.crt")}`,
      "--use-service-account-credentials=true",
      "--allocate-node-cidrs=true",
      `--cluster-cidr=${plan.podCidr}`,
      `--cluster-signing-cert-file=${pki("ca.crt")}`,
      `--cluster-signing-key-file=${pki("ca.key")}`,
      "--profiling=false",
    ],
    "kube-scheduler": [
      kube("kube-scheduler"),
      `--kubeconfig=${conf("kube-scheduler.kubeconfig")}`,
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      "--profiling=false",
    ],
    kubelet: [
      kube("kubelet"),
      `--kubeconfig=${conf("kubelet.kubeconfig")}`,
      `--config=${conf("kubelet.json")}`,
      `--hostname-override=${plan.region}`,
      `--node-ip=${plan.node}`,
      `--root-dir=${KUBELET_ROOT}`,
      `--node-labels=topology.kubernetes.io/region=${plan.region},topology.kubernetes.io/zone=${plan.region}-a`,
      // Walking the cgroups is what an idle kubelet spends its time on.
      "--housekeeping-interval=10s",
    ],
    "kube-proxy": [
      kube("kube-proxy"),
      `--kubeconfig=${conf("kube-proxy.kubeconfig")}`,
      `--hostname-override=${plan.region}`,
      "--proxy-mode=iptables",
      `--cluster-cidr=${plan.podCidr}`,
      "--iptables-localhost-nodeports=false",
      // These belong to the host and can't be written in a child network namespace.
      "--conntrack-max-per-core=0",
      "--conntrack-min=0",
      "--conntrack-tcp-timeout-established=0s",
      "--conntrack-tcp-timeout-close-wait=0s",
    ],
    "volume-provisioner": [
      kube("volume-provisioner"),
      `--kubeconfig=${conf("volume-provisioner.kubeconfig")}`,
      `--node=${plan.region}`,
      `--root=${plan.volumes}`,
      `--provisioner=${PROVISIONER}`,
    ],
    "network-policy": [kube("network-policy"), `--kubeconfig=${conf("network-policy.kubeconfig")}`],
  };
}

export const PROVISIONER = "iam-ha.local/directory";

/** The kubelet's folder inside the region's mount namespace; a folder of the region's state is mounted over it. */
export const KUBELET_ROOT = "/var/lib/kubelet";

/**
 * Folders that kubelet, containerd or the CNI plugins use whatever their settings say. Inside the region's mount
 * namespace a folder of the region lies over each, so that regions and the host's own services never meet.
 */
export function privateMounts(plan: RegionPlan): readonly { readonly source: string; readonly target: string }[] {
  return [
    { source: join(plan.state, "kubelet"), target: KUBELET_ROOT },
    { source: join(plan.run, "cni-cache"), target: "/var/lib/cni" },
    { source: join(plan.run, "container-log-links"), target: "/var/log/containers" },
    { source: join(plan.run, "shims"), target: "/run/containerd" },
  ];
}

/** `ip route add` arguments that lead from one region to the pods and services of the others, and to its own services. */
export function routes(plan: RegionPlan): readonly (readonly string[])[] {
  const others = regionNames
    .filter((other) => other !== plan.region)
    .flatMap((other) => {
      const { node, podCidr, serviceCidr } = addresses(other);
      return [
        [podCidr, "via", node],
        [serviceCidr, "via", node],
      ];
    });
  // A service address is rewritten on its way out, but only after a route was found: any will do, with the source that
  // answers can come back to.
  return [...others, [plan.serviceCidr, "dev", "lo", "src", plan.node]];
}
