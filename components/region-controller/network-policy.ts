import type * as k8s from "@pulumi/kubernetes";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { wanPeers } from "../common/wan.ts";
import { STATUS_PORT } from "./plan.ts";

/** Who may ask the controller (the other regions' controllers, the edge and the database of its own region; monitoring),
 *  and whom it asks. */
export function controllerNetworkPolicy(ctx: RegionContext): k8s.types.input.networking.v1.NetworkPolicy {
  const pods = (component: string) => ({ podSelector: { matchLabels: selectorOf(ctx, component) } });
  const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: "TCP", port }));
  const peers = wanPeers(ctx.wan);
  return {
    metadata: metadata(ctx, COMPONENTS.regionController, COMPONENTS.regionController),
    spec: {
      podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.regionController) },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        { from: [pods(COMPONENTS.edge), pods(COMPONENTS.postgres), ...peers], ports: tcp(PORTS.regionController) },
        { from: [pods(COMPONENTS.monitoring)], ports: tcp(STATUS_PORT) },
      ],
      egress: [
        { to: [pods(COMPONENTS.postgres)], ports: tcp(PORTS.postgres, PORTS.patroni) },
        { to: [pods(COMPONENTS.redis)], ports: tcp(PORTS.redis) },
        { to: [pods(COMPONENTS.witness)], ports: tcp(PORTS.witnessClient) },
        ...(peers.length > 0 ? [{ to: peers, ports: tcp(PORTS.witnessClient, PORTS.regionController) }] : []),
        // To anywhere, as the cluster's DNS may be pods, a node-local cache or a service outside.
        { ports: [{ protocol: "UDP", port: 53 }, ...tcp(53)] },
      ],
    },
  };
}
