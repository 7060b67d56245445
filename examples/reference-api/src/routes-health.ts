import type { FastifyInstance, FastifyReply } from "fastify";
import type { HealthResult } from "./health.ts";

export interface HealthDependencies {
  /** The services outside that are configured. */
  readonly external: () => Promise<HealthResult>;
  readonly database: () => Promise<HealthResult>;
  readonly redis: () => Promise<HealthResult>;
  readonly serverId: string;
  readonly region: string;
  /** Whether this server takes requests: the schema has been there once, and it is not about to end. */
  readonly ready: () => boolean;
}

/** Health, open to whoever can connect. `/health/live` and `/health/ready` are for probes and depend on nothing but this
 *  process; `/health` adds the services outside, which can only make it degraded. */
export function healthRoutes(app: FastifyInstance, deps: HealthDependencies): void {
  const answer = (reply: FastifyReply, result: HealthResult) =>
    reply
      .code(result.status === "unhealthy" ? 503 : 200)
      .header("cache-control", "no-store")
      .send(result);
  const options = { logLevel: "warn" as const };

  app.get("/health", options, async (_request, reply) => {
    const outside = await deps.external();
    return answer(reply, {
      ...outside,
      service: "iam-api",
      status: outside.status === "healthy" ? "healthy" : "degraded",
      details: {
        serverId: deps.serverId,
        region: deps.region,
        uptimeSeconds: Math.round(process.uptime()),
        external: outside.details,
      },
    });
  });
  app.get("/health/live", options, (_request, reply) => reply.send({ status: "healthy" }));
  app.get("/health/ready", options, (_request, reply) => {
    const ready = deps.ready();
    return reply.code(ready ? 200 : 503).send({ status: ready ? "healthy" : "unhealthy" });
  });
  app.get("/health/db", options, async (_request, reply) => answer(reply, await deps.database()));
  app.get("/health/redis", options, async (_request, reply) => answer(reply, await deps.redis()));
}
