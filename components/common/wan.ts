import type * as k8s from "@pulumi/kubernetes";
import { z } from "zod";
import type { RegionContext } from "./context.ts";
import { endpointName, type Endpoint } from "./names.ts";
import { cidr } from "./schema.ts";

/** How regions reach each other. Addresses follow from the naming convention (`postgresql-shanghai.iam.example.com`); what
 *  stands here is how those names get to lead to the Services behind them. */
export const wanSettings = z
  .strictObject({
    peerNetworks: z
      .array(cidr)
      .default([])
      .describe(
        "networks of the other regions, to let in and to reach: their pods and Services, the addresses that they come from, and those of their load balancers. Without any, nothing crosses between regions",
      ),
    service: z
      .strictObject({
        type: z
          .enum(["ClusterIP", "LoadBalancer"])
          .default("LoadBalancer")
          .describe(
            "type of the Services that other regions use; ClusterIP where service addresses are routed between clusters",
          ),
        annotations: z
          .record(z.string().min(1), z.string())
          .default({})
          .describe("annotations of these Services, such as those that make a load balancer internal"),
        loadBalancerClass: z.string().min(1).optional().describe("loadBalancerClass of these Services"),
      })
      .prefault({})
      .describe("the Services that other regions use: the database's leader, the witness, the region controller"),
  })
  .describe("how regions reach each other");
export type WanSettings = z.infer<typeof wanSettings>;

/** What a Service that other regions use has besides its ports and its selector. external-dns makes the endpoint's name
 *  from the annotation. */
export function wanService(
  ctx: Pick<RegionContext, "region" | "domain">,
  wan: WanSettings,
  endpoint: Endpoint,
): { annotations: Record<string, string>; spec: k8s.types.input.core.v1.ServiceSpec } {
  const { type, annotations, loadBalancerClass } = wan.service;
  return {
    annotations: {
      "external-dns.alpha.kubernetes.io/hostname": endpointName(endpoint, ctx.region, ctx.domain),
      ...annotations,
    },
    spec: {
      type,
      ...(type === "LoadBalancer" && loadBalancerClass !== undefined ? { loadBalancerClass } : {}),
    },
  };
}

/** The other regions as peers of a NetworkPolicy's rule. */
export function wanPeers(wan: WanSettings): { ipBlock: { cidr: string } }[] {
  return wan.peerNetworks.map((network) => ({ ipBlock: { cidr: network } }));
}
