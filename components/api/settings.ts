import { z } from "zod";
import { byteQuantity, port, resources } from "../common/schema.ts";

export const apiSettings = z
  .strictObject({
    replicas: z.int().min(1).max(9).default(3).describe("API pods, named iam-api-1 to iam-api-n; 3 in §5.1.1"),
    image: z
      .string()
      .min(1)
      .optional()
      .describe("image of your own API; default: the project's node image with the reference API"),
    command: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe("command of the container; default: the reference API, or with `image` the image's own"),
    port: port.min(1024).default(3000).describe("port that the API listens on, §5.1.1"),
    tls: z
      .boolean()
      .default(true)
      .describe("whether the API speaks HTTPS and asks the edge for its certificate; false for an API that cannot"),
    resources: resources.prefault({ cpu: "250m", cpuLimit: "2", memory: "512Mi" }),
    tmpSize: byteQuantity.default("16Mi").describe("size of /tmp, in memory"),
    env: z
      .record(z.string().regex(/^[A-Z][A-Z0-9_]*$/, "must be upper-case letters, digits and '_'"), z.string())
      .default({})
      .describe("environment variables besides those of docs/api.md; no secrets"),
    sessionTtlSeconds: z.int().min(60).max(604_800).default(3600).describe("time until an unused session ends, §5.1.3"),
    externalServices: z
      .array(z.url({ protocol: /^https?$/ }))
      .default([])
      .describe("services elsewhere whose health GET /health tells, §5.1.2"),
    healthTimeouts: z
      .strictObject({
        apiMillis: z.int().min(100).max(60_000).default(5000).describe("GET /health, §5.1.2"),
        databaseMillis: z.int().min(100).max(60_000).default(3000).describe("GET /health/db, §5.1.2"),
        redisMillis: z.int().min(100).max(60_000).default(3000).describe("GET /health/redis, §5.1.2"),
        externalMillis: z.int().min(100).max(60_000).default(5000).describe("each external service, §5.1.2"),
      })
      .prefault({})
      .describe("how long each health check may take"),
    drainSeconds: z
      .int()
      .min(1)
      .max(300)
      .default(10)
      .describe("how long a pod that ends goes on with the requests it has"),
  })
  .superRefine((api, ctx) => {
    const ours = API_VARIABLES as readonly string[];
    for (const name of Object.keys(api.env)) {
      if (ours.includes(name))
        ctx.addIssue({ code: "custom", path: ["env", name], message: "is set by the component: choose another name" });
    }
  })
  .describe("the API's pods");
export type ApiSettings = z.infer<typeof apiSettings>;

/** Variables that the component sets; what each holds is in docs/api.md. */
export const API_VARIABLES = [
  "REGION",
  "SERVER_ID",
  "PORT",
  "TLS_CERT_FILE",
  "TLS_KEY_FILE",
  "CA_FILE",
  "EDGE_CLIENT_NAME",
  "DATABASE_HOST",
  "DATABASE_PORT",
  "DATABASE_WRITE",
  "DATABASE_READ",
  "DATABASE_USER",
  "DATABASE_PASSWORD_FILE",
  "REDIS_HOST",
  "REDIS_PORT",
  "REDIS_USER",
  "REDIS_PASSWORD_FILE",
  "ADMIN_PASSWORD_FILE",
  "SESSION_TTL_SECONDS",
  "EXTERNAL_SERVICES",
  "HEALTH_API_TIMEOUT_MILLIS",
  "HEALTH_DATABASE_TIMEOUT_MILLIS",
  "HEALTH_REDIS_TIMEOUT_MILLIS",
  "HEALTH_EXTERNAL_TIMEOUT_MILLIS",
  "DRAIN_SECONDS",
] as const;
