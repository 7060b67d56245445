import type * as k8s from "@pulumi/kubernetes";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { wanPeers } from "../common/wan.ts";

type Policy = k8s.types.input.networking.v1.NetworkPolicy;

const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: "TCP", port }));
/** To anywhere, as the cluster's DNS may be pods, a node-local cache or a service outside. */
const dns = { ports: [{ protocol: "UDP", port: 53 }, ...tcp(53)] };

/** Who may talk to the member: region controllers, DNS servers and monitoring as clients, and the other regions, whose
 *  members are peers and whose controllers and DNS servers are clients too. */
export function witnessNetworkPolicy(ctx: RegionContext): Policy {
  const clients = [COMPONENTS.regionController, COMPONENTS.globalDns, COMPONENTS.monitoring].map((component) => ({
    podSelector: { matchLabels: selectorOf(ctx, component) },
  }));
  const peers = wanPeers(ctx.wan);
  const ports = tcp(PORTS.witnessClient, PORTS.witnessPeer);
  return {
    metadata: metadata(ctx, COMPONENTS.witness, COMPONENTS.witness),
    spec: {
      podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.witness) },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        { from: clients, ports: tcp(PORTS.witnessClient) },
        // A rule without peers would admit everybody.
        ...(peers.length > 0 ? [{ from: peers, ports }] : []),
      ],
      egress: [...(peers.length > 0 ? [{ to: peers, ports }] : []), dns],
    },
  };
}
