import type * as k8s from "@pulumi/kubernetes";
import { selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { wanPeers } from "../common/wan.ts";
import { EDGE_PORTS } from "./plan.ts";
import type { EdgeSettings } from "./settings.ts";

/** In: anyone, to what is public and to /health; other regions, to what edges pass on. Out: the API's pods, the region
 *  controller, other regions' edges, and name resolution; nothing else. */
export function edgeNetworkPolicy(
  ctx: RegionContext,
  settings: EdgeSettings,
  upstreamPort: number,
): k8s.types.input.networking.v1.NetworkPolicySpec {
  const pods = (component: string) => ({ podSelector: { matchLabels: selectorOf(ctx, component) } });
  const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: "TCP", port }));
  const regions = wanPeers(ctx.wan);
  // Load balancers that say in a PROXY header for whom they come, come from their own addresses.
  const { mode, trusted } = settings.clientAddress;
  const balancers = mode === "proxy-protocol" ? trusted.map((cidr) => ({ ipBlock: { cidr } })) : [];
  const senders = [...regions, ...balancers];
  return {
    podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.edge) },
    policyTypes: ["Ingress", "Egress"],
    ingress: [
      { ports: tcp(EDGE_PORTS.http, EDGE_PORTS.https, EDGE_PORTS.health) },
      // A rule with an empty list of peers would let everyone in.
      ...(senders.length > 0 ? [{ from: senders, ports: tcp(EDGE_PORTS.peer) }] : []),
    ],
    egress: [
      { to: [pods(COMPONENTS.api)], ports: tcp(upstreamPort) },
      { to: [pods(COMPONENTS.regionController)], ports: tcp(PORTS.regionController) },
      ...(regions.length > 0 ? [{ to: regions, ports: tcp(PORTS.edgePeer) }] : []),
      // Wherever the cluster's DNS runs: not everywhere is it a pod of kube-system.
      { ports: [{ protocol: "UDP", port: PORTS.dns }, ...tcp(PORTS.dns)] },
    ],
  };
}
