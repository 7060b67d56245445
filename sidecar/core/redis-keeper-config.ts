import { z } from "zod";

/** Configuration file of the Redis keeper: written by the RedisCluster component, read by the keeper. */
export const redisKeeperConfig = z.strictObject({
  region: z.string().min(1).describe("name of the region, for the log"),
  nodes: z
    .array(
      z.strictObject({
        name: z.string().min(1).describe("host name that the node announces"),
        host: z.string().min(1).describe("name or address at which the keeper connects to it"),
        port: z.int().min(1).max(65535).describe("TLS port"),
      }),
    )
    .min(1)
    .describe("every expected node"),
  masters: z.int().min(1).describe("masters with slots"),
  user: z.string().min(1).describe("ACL user"),
  passwordFile: z.string().min(1).describe("file with its password; read anew for each connection"),
  tls: z.strictObject({
    caFile: z.string().min(1),
    certFile: z.string().min(1),
    keyFile: z.string().min(1),
    serverName: z.string().min(1).optional().describe("name to demand of certificates; default: the node's host"),
  }),
  intervalMillis: z.int().min(1).describe("pause between two looks"),
  callTimeoutMillis: z.int().min(1).describe("time-out of one command, and of connecting"),
  settleMillis: z.int().min(0).describe("time without any change before placement is improved"),
  placement: z
    .discriminatedUnion("source", [
      z.strictObject({
        source: z.literal("kubernetes").describe("machines of the pods from the API server, by the pod's own account"),
        namespace: z.string().min(1),
        labelSelector: z.string().min(1),
      }),
      z.strictObject({ source: z.literal("none").describe("one machine: placement does not matter") }),
    ])
    .describe("where the keeper learns on which machine each node runs"),
  statusPort: z.int().min(0).max(65535).describe("port of /healthz and /status; 0 for any free one"),
});
export type RedisKeeperConfig = z.infer<typeof redisKeeperConfig>;
