import type { RegionPlan } from "./regions.ts";
import { corefile, DNS_PORT, type SystemImages } from "./configs.ts";
import { PROVISIONER } from "./daemons.ts";

/** A Kubernetes object, as far as applying it needs to know. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

/** What a cluster has to hold before anybody uses it: storage, DNS, and the rights that both need. */
export function systemObjects(plan: RegionPlan, images: SystemImages): readonly KubeObject[] {
  return [...storage(), ...networkPolicies(), ...dns(plan, images)].map((o) => ({
    ...o,
    metadata: {
      ...o.metadata,
      labels: {
        "app.kubernetes.io/part-of": "iam-ha-local",
        "app.kubernetes.io/instance": plan.region,
        ...(o.metadata.labels as object | undefined),
      },
    },
  }));
}

const RBAC = "rbac.authorization.k8s.io";

/** A ClusterRole of ours, given to one of the programs outside the cluster. */
function grant(name: string, user: string, rules: readonly object[]): readonly KubeObject[] {
  return [
    { apiVersion: `${RBAC}/v1`, kind: "ClusterRole", metadata: { name }, rules },
    {
      apiVersion: `${RBAC}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: RBAC, kind: "ClusterRole", name },
      subjects: [{ apiGroup: RBAC, kind: "User", name: user }],
    },
  ];
}

function networkPolicies(): readonly KubeObject[] {
  const verbs = ["list", "watch"];
  return grant("iam-ha:network-policy", "iam-ha:network-policy", [
    { apiGroups: [""], resources: ["pods", "namespaces"], verbs },
    { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs },
  ]);
}

function storage(): readonly KubeObject[] {
  return [
    {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: {
        name: "local",
        annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
      },
      provisioner: PROVISIONER,
      volumeBindingMode: "WaitForFirstConsumer",
      reclaimPolicy: "Delete",
      allowVolumeExpansion: false,
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: "iam-ha:volume-provisioner" },
      roleRef: { apiGroup: RBAC, kind: "ClusterRole", name: "system:persistent-volume-provisioner" },
      subjects: [{ apiGroup: RBAC, kind: "User", name: "iam-ha:volume-provisioner" }],
    },
    // What the built-in role lacks: it looks at the node that the scheduler selected.
    ...grant("iam-ha:volume-provisioner-nodes", "iam-ha:volume-provisioner", [
      { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
    ]),
  ];
}

function dns(plan: RegionPlan, images: SystemImages): readonly KubeObject[] {
  const labels = { "k8s-app": "kube-dns", "app.kubernetes.io/name": "coredns" };
  const name = "coredns";
  const namespace = "kube-system";
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
    {
      apiVersion: `${RBAC}/v1`,
      kind: "ClusterRole",
      metadata: { name: "system:coredns" },
      rules: [
        { apiGroups: [""], resources: ["services", "pods", "namespaces"], verbs: ["list", "watch"] },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
      ],
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: "system:coredns" },
      roleRef: { apiGroup: RBAC, kind: "ClusterRole", name: "system:coredns" },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: { Corefile: corefile(plan) } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, namespace, labels },
      spec: {
        replicas: 1,
        // One node: a second copy next to the first only for the time of an update.
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        selector: { matchLabels: { "k8s-app": "kube-dns" } },
        template: {
          metadata: { labels },
          spec: {
            priorityClassName: "system-cluster-critical",
            serviceAccountName: name,
            dnsPolicy: "Default",
            terminationGracePeriodSeconds: 5,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: 10001,
              runAsGroup: 10001,
              seccompProfile: { type: "RuntimeDefault" },
              // Without root and without capabilities on port 53: one of the sysctls that Kubernetes counts as safe.
              sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "53" }],
            },
            containers: [
              {
                name,
                image: images.coredns,
                imagePullPolicy: "Never",
                args: ["-conf", "/etc/coredns/Corefile"],
                ports: [
                  { name: "dns", containerPort: DNS_PORT, protocol: "UDP" },
                  { name: "dns-tcp", containerPort: DNS_PORT, protocol: "TCP" },
                  { name: "metrics", containerPort: 9153, protocol: "TCP" },
                ],
                resources: { requests: { cpu: "20m", memory: "32Mi" }, limits: { memory: "192Mi" } },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ["ALL"] },
                },
                readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 2 },
                livenessProbe: {
                  httpGet: { path: "/health", port: 8080 },
                  initialDelaySeconds: 10,
                  periodSeconds: 10,
                  timeoutSeconds: 5,
                },
                volumeMounts: [
                  { name: "config", mountPath: "/etc/coredns", readOnly: true },
                  { name: "custom", mountPath: "/etc/coredns-custom", readOnly: true },
                ],
              },
            ],
            volumes: [
              { name: "config", configMap: { name } },
              { name: "custom", configMap: { name: "coredns-custom", optional: true } },
            ],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace, labels },
      spec: {
        clusterIP: plan.dnsService,
        selector: { "k8s-app": "kube-dns" },
        ports: [
          { name: "dns", port: 53, targetPort: DNS_PORT, protocol: "UDP" },
          { name: "dns-tcp", port: 53, targetPort: DNS_PORT, protocol: "TCP" },
        ],
      },
    },
  ];
}

const CLUSTER_PATHS: Readonly<Record<string, string>> = {
  StorageClass: "/apis/storage.k8s.io/v1/storageclasses",
  ClusterRole: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
  ClusterRoleBinding: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
  Namespace: "/api/v1/namespaces",
};
const NAMESPACED_PATHS: Readonly<Record<string, readonly [group: string, plural: string]>> = {
  ServiceAccount: ["/api/v1", "serviceaccounts"],
  ConfigMap: ["/api/v1", "configmaps"],
  Service: ["/api/v1", "services"],
  Deployment: ["/apis/apps/v1", "deployments"],
};

/** Path of an object in the API. @throws RangeError for a kind that the system objects do not use. */
export function objectPath(o: KubeObject): string {
  const cluster = CLUSTER_PATHS[o.kind];
  if (cluster !== undefined) return `${cluster}/${o.metadata.name}`;
  const namespaced = NAMESPACED_PATHS[o.kind];
  if (namespaced === undefined || !o.metadata.namespace) throw new RangeError(`No API path is known for ${o.kind}.`);
  return `${namespaced[0]}/namespaces/${o.metadata.namespace}/${namespaced[1]}/${o.metadata.name}`;
}
