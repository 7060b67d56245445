import type { RegionPlan } from "./regions.ts";

/** One certificate, as `hostkit pki` reads it. */
export interface Leaf {
  readonly name: string;
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly server?: boolean;
  readonly client?: boolean;
}

export interface PkiConfig {
  readonly directory: string;
  readonly authority: string;
  readonly leaves: readonly Leaf[];
  readonly keyPairs: readonly string[];
}

/** Programs that call the API server, by the user name under which Kubernetes' own RBAC rules know them. */
const CLIENTS: Readonly<Record<string, { commonName: string; organizations?: readonly string[] }>> = {
  admin: { commonName: "iam-ha-admin", organizations: ["system:masters"] },
  "apiserver-kubelet-client": { commonName: "kube-apiserver-kubelet-client", organizations: ["system:masters"] },
  "kube-controller-manager": { commonName: "system:kube-controller-manager" },
  "kube-scheduler": { commonName: "system:kube-scheduler" },
  "kube-proxy": { commonName: "system:kube-proxy" },
  "volume-provisioner": { commonName: "iam-ha:volume-provisioner" },
  "network-policy": { commonName: "iam-ha:network-policy" },
};

/** Clients that read their credentials from `<conf>/<name>.kubeconfig`. */
export const kubeconfigClients = [
  "kube-controller-manager",
  "kube-scheduler",
  "kube-proxy",
  "volume-provisioner",
  "network-policy",
  "kubelet",
] as const;

export function pkiConfig(plan: RegionPlan): PkiConfig {
  return {
    directory: plan.pki,
    authority: `iam-ha ${plan.instance.name} ${plan.region}`,
    keyPairs: ["service-accounts"],
    leaves: [
      {
        name: "apiserver",
        commonName: "kube-apiserver",
        server: true,
        dnsNames: [
          "localhost",
          "kubernetes",
          "kubernetes.default",
          "kubernetes.default.svc",
          `kubernetes.default.svc.${plan.domain}`,
        ],
        ipAddresses: ["127.0.0.1", plan.node, plan.apiService],
      },
      {
        name: "kubelet",
        commonName: `system:node:${plan.region}`,
        organizations: ["system:nodes"],
        server: true,
        client: true,
        dnsNames: [plan.region],
        ipAddresses: [plan.node],
      },
      ...Object.entries(CLIENTS).map(([name, subject]) => ({ name, client: true, ...subject })),
    ],
  };
}
