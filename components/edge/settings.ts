import { z } from "zod";
import { byteQuantity, dnsName, port, quantityCores, resources } from "../common/schema.ts";
import { clientAddress, securityHeaders, service, tls } from "./public-settings.ts";

const limit = (rate: number, burst: number, what: string) =>
  z
    .strictObject({
      ratePerSecond: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(rate)
        .describe(
          `requests per second that one client address may send ${what} in the long run, per edge pod (§5.1.1)`,
        ),
      burst: z
        .int()
        .min(0)
        .max(1_000_000)
        .default(burst)
        .describe(
          "requests above the rate that are served at once before the first one gets 429 (§5.1.1: burst, nodelay)",
        ),
    })
    .describe(`rate limit ${what}`);

const upstream = z
  .strictObject({
    maxFails: z
      .int()
      .min(0)
      .max(100)
      .default(3)
      .describe("failed tries within the fail time-out that take an API pod out (§5.1.1)"),
    failTimeoutSeconds: z
      .int()
      .min(1)
      .max(3600)
      .default(30)
      .describe("in which failures are counted, and for which the pod is out (§5.1.1)"),
    keepalive: z
      .int()
      .min(1)
      .max(1024)
      .default(32)
      .describe("idle connections to the API that each worker keeps open (§5.1.1)"),
    keepaliveIdleSeconds: z
      .int()
      .min(1)
      .max(3600)
      .default(30)
      .describe(
        "an idle connection to the API is closed after this; must be less than the API's own time, or requests meet connections that just closed",
      ),
    connectTimeoutSeconds: z.int().min(1).max(75).default(5).describe("until a connection to the API stands (§5.1.1)"),
    sendTimeoutSeconds: z
      .int()
      .min(1)
      .max(3600)
      .default(60)
      .describe("between two writes of a request to the API (§5.1.1)"),
    readTimeoutSeconds: z
      .int()
      .min(1)
      .max(3600)
      .default(60)
      .describe("between two reads of a response from the API (§5.1.1)"),
    bufferKilobytes: z
      .int()
      .min(4)
      .max(64)
      .default(4)
      .describe("one proxy buffer; a response's whole header must fit into one (§5.1.1: 4k)"),
    buffers: z.int().min(2).max(256).default(8).describe("proxy buffers per request (§5.1.1: 8)"),
  })
  .describe("connections to the API pods");

const regions = z
  .strictObject({
    pollMillis: z
      .int()
      .min(200)
      .max(60_000)
      .default(1000)
      .describe("pause between two questions to the region controller on who is active, in milliseconds"),
    callTimeoutMillis: z
      .int()
      .min(100)
      .max(30_000)
      .default(1000)
      .describe("time-out of one question, and of resolving another edge's name, in milliseconds"),
    firstAnswerSeconds: z
      .int()
      .min(0)
      .max(300)
      .default(5)
      .describe("how long a pod that starts waits to hear who is active before it takes requests anyway"),
    resolveSeconds: z
      .int()
      .min(1)
      .max(3600)
      .default(5)
      .describe("how often the name of the edge to which requests are passed is resolved again"),
    addressSeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(30)
      .describe(
        "a change of that edge's addresses is taken over at most once in so long; each one is a reload of NGINX",
      ),
    connectTimeoutSeconds: z
      .int()
      .min(1)
      .max(10)
      .default(2)
      .describe("until a connection to another region's edge stands; then 503. Two addresses are tried at most"),
    keepalive: z
      .int()
      .min(1)
      .max(1024)
      .default(16)
      .describe(
        "idle connections to another region's edge that each worker keeps open; a new one costs two round trips more",
      ),
    keepaliveIdleSeconds: z
      .int()
      .min(1)
      .max(60)
      .default(30)
      .describe("an idle one is closed after this; the other edge keeps them for 75 s"),
    resources: resources
      .prefault({ cpu: "20m", cpuLimit: "250m", memory: "96Mi" })
      .describe("CPU and memory of the sidecar in each edge pod"),
  })
  .describe("how an edge follows the active region: where that is another one, it passes requests on");

const workers = z
  .strictObject({
    processes: z
      .int()
      .min(1)
      .max(64)
      .optional()
      .describe(
        "worker processes; default: the CPU limit, rounded up (NGINX's `auto` would count the node's cores, not the pod's)",
      ),
    connections: z
      .int()
      .min(64)
      .max(65_536)
      .default(1024)
      .describe("connections per worker, those to the API included (§5.1.1)"),
  })
  .describe("worker processes");

/** Settings of the edge; every default is the design's figure of §5.1.1 where it has one. */
export const edgeSettings = z
  .strictObject({
    replicas: z.int().min(1).max(50).default(2).describe("edge pods"),
    service: service.prefault({}),
    serverNames: z
      .array(dnsName)
      .max(50)
      .default([])
      .describe(
        "further host names to answer to, besides the domain, api.<domain> and api-<region>.<domain>; the certificate must be good for them",
      ),
    publicHttpsPort: port
      .default(443)
      .describe("port under which clients reach HTTPS: where plain HTTP is redirected to"),
    clientAddress: clientAddress.prefault({}),
    limits: z
      .strictObject({
        api: limit(10, 20, "to /api/").prefault({}),
        login: limit(5, 10, "to the login paths").prefault({}),
        zoneMegabytes: z
          .int()
          .min(1)
          .max(256)
          .default(10)
          .describe(
            "memory of each limit's table (§5.1.1: 10m); one megabyte holds about 16000 IPv4 or 8000 IPv6 addresses",
          ),
        retryAfterSeconds: z
          .int()
          .min(1)
          .max(3600)
          .default(1)
          .describe("what Retry-After says with 429, and with 503 where the edge says it"),
      })
      .prefault({})
      .describe(
        "rate limits per client address; each edge pod counts for itself, so the whole edge lets up to `replicas` times as much through",
      ),
    loginPaths: z
      .array(
        z
          .string()
          .regex(
            /^\/api(\/(?!\.{1,2}(\/|$))[A-Za-z0-9_.~-]+)+$/,
            'must be a path under /api/ such as "/api/auth/login", without a slash at its end',
          ),
      )
      .min(1)
      .max(20)
      .default(["/api/auth/login"])
      .describe("paths, with all that is below them, to which the login limit applies instead of the API's"),
    upstream: upstream.prefault({}),
    regions: regions.prefault({}),
    tls: tls.prefault({}),
    securityHeaders,
    maxBodyMegabytes: z.int().min(1).max(1024).default(10).describe("largest request body; more gets 413 (§5.1.1)"),
    keepaliveSeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(65)
      .describe("an idle client connection is closed after this (§5.1.1)"),
    clientTimeoutSeconds: z
      .int()
      .min(1)
      .max(600)
      .default(30)
      .describe("for a request's header, and between two reads of its body; slower clients get 408"),
    staticMaxAgeSeconds: z
      .int()
      .min(0)
      .max(31_536_000)
      .default(31_536_000)
      .describe("how long clients may keep what is under /static/, as `public, immutable` (§5.1.1: one year)"),
    gzip: z
      .strictObject({
        level: z.int().min(0).max(9).default(6).describe("compression level (§5.1.1); 0 turns compression off"),
        minBytes: z.int().min(0).max(1_048_576).default(1024).describe("smaller responses are not compressed (§5.1.1)"),
      })
      .prefault({})
      .describe("compression of responses; never on the login paths, whose responses hold secrets"),
    log: z
      .strictObject({
        format: z
          .enum(["main", "json"])
          .default("main")
          .describe(
            "format of the access log on standard output: the design's line (§5.1.1), or one JSON object a line",
          ),
        level: z
          .enum(["debug", "info", "notice", "warn", "error"])
          .default("warn")
          .describe("level of the error log on standard error (§5.1.1)"),
      })
      .prefault({})
      .describe("logs"),
    workers: workers.prefault({}),
    ipv6: z.boolean().default(false).describe("whether to listen on IPv6 too and ask for a dual-stack Service"),
    preStopSeconds: z
      .int()
      .min(0)
      .max(300)
      .default(10)
      .describe(
        "how long a pod that is to end goes on serving, so that load balancers and nodes have stopped sending to it",
      ),
    drainSeconds: z
      .int()
      .min(1)
      .max(3600)
      .default(60)
      .describe(
        "how long open requests may last after that, and after a reload; less than the read time-out cuts the slowest",
      ),
    cacheVolumeSize: byteQuantity
      .default("2Gi")
      .describe("disk for request and response bodies that do not fit into memory, per pod; a pod over it is evicted"),
    resources: resources
      .prefault({ cpu: "250m", cpuLimit: "2", memory: "256Mi" })
      .describe("CPU and memory of an edge pod"),
  })
  .superRefine((value, ctx) => {
    const outside = value.service.type !== "ClusterIP";
    if (outside && value.clientAddress.mode === "direct" && value.service.externalTrafficPolicy === "Cluster") {
      ctx.addIssue({
        code: "custom",
        path: ["service", "externalTrafficPolicy"],
        message:
          "must be Local when clientAddress.mode is direct: the nodes' addresses would be taken for the clients', and limited together",
        input: "Cluster",
      });
    }
    for (const key of ["upstream", "regions"] as const) {
      if (value[key].keepalive * 2 <= value.workers.connections) continue;
      ctx.addIssue({
        code: "custom",
        path: [key, "keepalive"],
        message: `must be at most half of workers.connections (${value.workers.connections}), or idle connections leave none for clients`,
        input: value[key].keepalive,
      });
    }
    const inner = value.loginPaths.find((path, i) => value.loginPaths.indexOf(path) !== i);
    if (inner)
      ctx.addIssue({
        code: "custom",
        path: ["loginPaths"],
        message: `${inner} stands here twice`,
        input: value.loginPaths,
      });
  })
  .describe("the edge: NGINX in front of the API (§5.1.1)");
export type EdgeSettings = z.infer<typeof edgeSettings>;

/** How many workers run: as set, or as many as the pod may use cores. */
export function workerProcesses(settings: Pick<EdgeSettings, "workers" | "resources">): number {
  return settings.workers.processes ?? Math.max(1, Math.ceil(quantityCores(settings.resources.cpuLimit)));
}

/** Seconds between a pod's order to end and its end by force: the pause, the drain, and what NGINX needs after it. */
export function gracePeriodSeconds(settings: Pick<EdgeSettings, "preStopSeconds" | "drainSeconds">): number {
  return settings.preStopSeconds + settings.drainSeconds + 10;
}
