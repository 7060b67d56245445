import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS, postgresSetName } from "../common/names.ts";
import { wanPeers } from "../common/wan.ts";
import { SCOPE } from "./patroni.ts";
import { STATE_NAMES } from "./services.ts";
import type { PostgresSettings } from "./settings.ts";

/** Name of the ServiceAccount, the Role and its binding. */
export const ACCOUNT = COMPONENTS.postgres;

/** What Patroni does through the Kubernetes API, and nothing else: it keeps its state in Endpoints, and reads and labels
 *  its own pods. Names cannot restrict lists, watches and creation, so those stand apart. It may not delete: only
 *  `patronictl remove` needs that. */
export function patroniRules(region: string, replicas: number): k8s.types.input.rbac.v1.PolicyRule[] {
  const pods = Array.from({ length: replicas }, (_, i) => `${postgresSetName(region)}-${i}`);
  return [
    { apiGroups: [""], resources: ["endpoints"], verbs: ["create", "list", "watch"] },
    {
      apiGroups: [""],
      resources: ["endpoints"],
      resourceNames: [SCOPE, ...STATE_NAMES],
      verbs: ["get", "patch", "update"],
    },
    { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
    { apiGroups: [""], resources: ["pods"], resourceNames: pods, verbs: ["get", "patch"] },
  ];
}

/** ServiceAccount, Role and binding of the database pods. Gives what pods must come after. */
export function patroniAccess(
  name: string,
  ctx: RegionContext,
  settings: PostgresSettings,
  opts: pulumi.CustomResourceOptions,
): pulumi.Resource[] {
  const meta = metadata(ctx, COMPONENTS.postgres, ACCOUNT);
  const account = new k8s.core.v1.ServiceAccount(name, { metadata: meta, automountServiceAccountToken: false }, opts);
  const role = new k8s.rbac.v1.Role(name, { metadata: meta, rules: patroniRules(ctx.region, settings.replicas) }, opts);
  const binding = new k8s.rbac.v1.RoleBinding(
    name,
    {
      metadata: meta,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: ACCOUNT },
      subjects: [{ kind: "ServiceAccount", name: ACCOUNT, namespace: ctx.namespace }],
    },
    { ...opts, dependsOn: [role, account] },
  );
  return [account, role, binding];
}

/** Who may talk to the database pods, and to whom they talk. */
export function postgresNetworkPolicy(
  name: string,
  ctx: RegionContext,
  opts: pulumi.CustomResourceOptions,
): k8s.networking.v1.NetworkPolicy {
  const podsOf = (component: string) => ({ podSelector: { matchLabels: selectorOf(ctx, component) } });
  const peers = wanPeers(ctx.wan);
  const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: "TCP", port }));
  return new k8s.networking.v1.NetworkPolicy(
    name,
    {
      metadata: metadata(ctx, COMPONENTS.postgres, COMPONENTS.postgres),
      spec: {
        podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.postgres) },
        policyTypes: ["Ingress", "Egress"],
        ingress: [
          {
            from: [podsOf(COMPONENTS.postgres), podsOf(COMPONENTS.pooler)],
            ports: tcp(PORTS.postgres, PORTS.patroni),
          },
          { from: [podsOf(COMPONENTS.monitoring)], ports: tcp(PORTS.patroni) },
          // It looks at every member, and turns what is turned at run time.
          { from: [podsOf(COMPONENTS.regionController)], ports: tcp(PORTS.postgres, PORTS.patroni) },
          ...(peers.length > 0 ? [{ from: peers, ports: tcp(PORTS.postgres) }] : []),
        ],
        egress: [
          { to: [podsOf(COMPONENTS.postgres)], ports: tcp(PORTS.postgres, PORTS.patroni) },
          // Before a database is made: is there one elsewhere?
          { to: [podsOf(COMPONENTS.regionController)], ports: tcp(PORTS.regionController) },
          // DNS, wherever the cluster has it.
          { ports: [{ protocol: "UDP", port: 53 }, ...tcp(53)] },
          // The Kubernetes API: policies see its real address and port, which no name stands for.
          { ports: tcp(443, 6443) },
          ...(peers.length > 0 ? [{ to: peers, ports: tcp(PORTS.postgres) }] : []),
        ],
      },
    },
    opts,
  );
}
