import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { POOLER_PORTS } from "./plan.ts";

/** Who may talk to the pooler (the API; monitoring), and to whom it may talk (the database, DNS). */
export function poolerNetworkPolicy(name: string, context: RegionContext, opts: pulumi.ComponentResourceOptions): void {
  const pods = (component: string) => ({ podSelector: { matchLabels: selectorOf(context, component) } });
  const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: "TCP", port }));
  new k8s.networking.v1.NetworkPolicy(
    name,
    {
      metadata: metadata(context, COMPONENTS.pooler, COMPONENTS.pooler),
      spec: {
        podSelector: { matchLabels: selectorOf(context, COMPONENTS.pooler) },
        policyTypes: ["Ingress", "Egress"],
        ingress: [
          { from: [pods(COMPONENTS.api)], ports: tcp(PORTS.pooler) },
          { from: [pods(COMPONENTS.monitoring)], ports: tcp(PORTS.pooler, POOLER_PORTS.metrics) },
        ],
        egress: [
          { to: [pods(COMPONENTS.postgres)], ports: tcp(PORTS.postgres, PORTS.patroni) },
          // To anywhere, as the cluster's DNS may be pods, a node-local cache or a service outside.
          { ports: [{ protocol: "UDP", port: 53 }, ...tcp(53)] },
        ],
      },
    },
    opts,
  );
}
