import { randomUUID } from "node:crypto";
import type { Server as HttpsServer } from "node:https";
import fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance } from "fastify";
import { demandEdge, tlsOptions } from "./edge-client.ts";
import { ApiError, errorBody } from "./errors.ts";
import { authRoutes, type AuthDependencies } from "./routes-auth.ts";
import { healthRoutes, type HealthDependencies } from "./routes-health.ts";
import { userRoutes, type UserDependencies } from "./routes-users.ts";
import type { Settings } from "./settings.ts";

export interface AppDependencies {
  readonly tls: Settings["tls"];
  readonly logger: FastifyBaseLogger;
  readonly auth: AuthDependencies;
  readonly users: UserDependencies;
  readonly health: HealthDependencies;
  /** Whether the server is about to end: clients are then asked to leave their connections. */
  readonly draining: () => boolean;
}

const HELLO = "hello from the IAM platform\n";

/** The HTTP application, without a port yet. */
export function buildApp(deps: AppDependencies): FastifyInstance {
  const common = {
    loggerInstance: deps.logger,
    bodyLimit: 64 * 1024,
    // Longer than the edge keeps an idle connection (60 s): so it is the edge that closes, and never meets a closed one.
    keepAliveTimeout: 75_000,
    requestTimeout: 30_000,
    // While it closes, requests on open connections are still answered.
    return503OnClosing: false,
    // Only the edge gets as far as to be believed, see the hook below.
    trustProxy: true,
    genReqId: (request: { headers: Record<string, string | string[] | undefined> }) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && /^[A-Za-z0-9-]{8,64}$/.test(given) ? given : randomUUID();
    },
    // Numbers in query strings come as text; nothing else is bent to fit, and no unknown key dropped in silence.
    ajv: { customOptions: { removeAdditional: false as const } },
  };
  const app = (deps.tls
    ? fastify({ ...common, https: tlsOptions(deps.tls) })
    : fastify(common)) as unknown as FastifyInstance;

  app.addHook("onRequest", async (request, reply) => {
    void reply.header("x-request-id", request.id);
    if (deps.tls && !/^\/health(?:[/?]|$)/.test(request.url)) demandEdge(request, deps.tls.edgeName);
  });
  app.addHook("onSend", async (_request, reply) => {
    if (deps.draining()) void reply.header("connection", "close");
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send(errorBody("not_found", "There is nothing under this path.", request.id)),
  );
  app.setErrorHandler((error: FastifyError | ApiError, request, reply) => {
    if (error instanceof ApiError) {
      if (error.status >= 500) request.log.warn({ err: error, code: error.code }, error.message);
      if (error.retryAfterSeconds !== undefined) void reply.header("retry-after", error.retryAfterSeconds);
      return reply.code(error.status).send(errorBody(error.code, error.message, request.id));
    }
    if (error.validation) return reply.code(400).send(errorBody("invalid_request", error.message, request.id));
    const status = error.statusCode ?? 500;
    if (status < 500) return reply.code(status).send(errorBody("bad_request", error.message, request.id));
    request.log.error({ err: error }, "request failed");
    return reply.code(500).send(errorBody("internal_error", "The request could not be handled.", request.id));
  });

  healthRoutes(app, deps.health);
  authRoutes(app, deps.auth);
  userRoutes(app, deps.users);
  app.get("/static/hello.txt", (_request, reply) => reply.type("text/plain; charset=utf-8").send(HELLO));
  return app;
}

/** The HTTPS server under an application. */
export function httpsServer(app: FastifyInstance): HttpsServer {
  return app.server as unknown as HttpsServer;
}
