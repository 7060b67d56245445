import { isIP } from "node:net";
import { z } from "zod";
import { resources } from "../common/schema.ts";

const coredns = z.strictObject({
  provider: z
    .literal("coredns")
    .describe("CoreDNS in every region, each with the word of the witness: the parent zone delegates the name to them"),
  replicas: z.int().min(1).max(20).default(2).describe("DNS pods of the region"),
  image: z
    .string()
    .regex(
      /^[^\s:@]+(:[0-9]+)?(\/[^\s:@]+)*:(?!latest)[\w][\w.-]{0,127}(@sha256:[0-9a-f]{64})?$/,
      "must be an image reference with a pinned tag",
    )
    .default("docker.io/coredns/coredns:1.14.7")
    .describe(
      "CoreDNS, 1.14.7 or later, with the plugins cache, errors, etcd, forward, health, prometheus, ready, reload",
    ),
  ttlSeconds: z
    .int()
    .min(1)
    .max(300)
    .default(5)
    .describe("how long an answer may be kept, by resolvers and by these servers, in seconds"),
  staleHours: z
    .int()
    .min(1)
    .max(168)
    .default(24)
    .describe("how long the last answer is given while the witness has no majority, in hours"),
  verifyMillis: z
    .int()
    .min(50)
    .max(4000)
    .default(500)
    .describe(
      "how long the witness is waited for before the last answer is given, in milliseconds; stub resolvers wait 5 s",
    ),
  service: z
    .strictObject({
      type: z
        .enum(["LoadBalancer", "ClusterIP"])
        .default("LoadBalancer")
        .describe("how resolvers reach the servers; ClusterIP where service addresses are routed to them"),
      clusterIP: z
        .string()
        .refine((text) => isIP(text) !== 0, "must be an address")
        .optional()
        .describe(
          "fixed service address, for clusters whose DNS forwards the name to it; default: one that the cluster picks",
        ),
      annotations: z
        .record(z.string().min(1), z.string())
        .default({})
        .describe("annotations of the Service, such as those by which a cloud's load balancer is set up"),
      loadBalancerClass: z.string().min(1).optional().describe("loadBalancerClass of the Service"),
    })
    .superRefine((value, ctx) => {
      if (value.loadBalancerClass === undefined || value.type === "LoadBalancer") return;
      ctx.addIssue({
        code: "custom",
        path: ["loadBalancerClass"],
        message: "has a meaning only with type LoadBalancer",
        input: value.loadBalancerClass,
      });
    })
    .prefault({})
    .describe("the Service in front of the DNS pods"),
  resources: resources
    .prefault({ cpu: "50m", cpuLimit: "500m", memory: "128Mi" })
    .describe("CPU and memory of CoreDNS in a pod"),
  sidecarResources: resources
    .prefault({ cpu: "20m", cpuLimit: "250m", memory: "128Mi" })
    .describe("CPU and memory of the sidecar in a pod, which gives CoreDNS its way to the witness"),
});

const none = z.strictObject({
  provider: z.literal("none").describe("nothing: the name is kept by other means"),
});

/** Settings of the one name of the platform. One more provider is one more member here. */
export const globalDnsSettings = z
  .discriminatedUnion("provider", [coredns, none])
  .describe("the platform's one name, api.<domain>, which follows the active region");
export type GlobalDnsSettings = z.infer<typeof globalDnsSettings>;
export type CorednsSettings = z.infer<typeof coredns>;
