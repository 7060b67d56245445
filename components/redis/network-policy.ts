import type * as k8s from "@pulumi/kubernetes";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS } from "../common/names.ts";
import { BUS_PORT, KEEPER_STATUS_PORT } from "./plan.ts";

type Policy = k8s.types.input.networking.v1.NetworkPolicy;

const pods = (ctx: RegionContext, component: string) => ({ podSelector: { matchLabels: selectorOf(ctx, component) } });
const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: "TCP", port }));
/** To anywhere, as the cluster's DNS may be pods, a node-local cache or a service outside. */
const dns = { ports: [{ protocol: "UDP", port: 53 }, ...tcp(53)] };

/** Who may talk to Redis (the API, the keeper, the region controller, monitoring, the nodes among themselves), and to
 *  whom it may. */
export function redisNetworkPolicy(ctx: RegionContext): Policy {
  const peers = { ports: tcp(PORTS.redis, BUS_PORT) };
  return {
    metadata: metadata(ctx, COMPONENTS.redis, COMPONENTS.redis),
    spec: {
      podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.redis) },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        {
          from: [COMPONENTS.api, COMPONENTS.redisKeeper, COMPONENTS.regionController, COMPONENTS.monitoring].map(
            (component) => pods(ctx, component),
          ),
          ports: tcp(PORTS.redis),
        },
        { from: [pods(ctx, COMPONENTS.redis)], ...peers },
      ],
      egress: [{ to: [pods(ctx, COMPONENTS.redis)], ...peers }, dns],
    },
  };
}

/** The keeper talks to Redis, DNS and, where machines matter, to the API server, whose address no selector names. */
export function keeperNetworkPolicy(ctx: RegionContext): Policy {
  return {
    metadata: metadata(ctx, COMPONENTS.redisKeeper, COMPONENTS.redisKeeper),
    spec: {
      podSelector: { matchLabels: selectorOf(ctx, COMPONENTS.redisKeeper) },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: [pods(ctx, COMPONENTS.monitoring)], ports: tcp(KEEPER_STATUS_PORT) }],
      egress: [
        { to: [pods(ctx, COMPONENTS.redis)], ports: tcp(PORTS.redis) },
        dns,
        ...(ctx.multiNode ? [{ ports: tcp(443, 6443) }] : []),
      ],
    },
  };
}
