import type { FastifyInstance, FastifyRequest } from "fastify";
import { ApiError, unauthenticated, unavailable } from "./errors.ts";
import { MAX_PASSWORD_BYTES, verifyPassword } from "./passwords.ts";
import type { Session, Sessions } from "./sessions.ts";
import type { Users } from "./users.ts";

export const COOKIE = "iam_session";

/** Names of users: also what goes into logs and error texts, so nothing that could break a line. */
export const usernameSchema = { type: "string", pattern: "^[a-z0-9][a-z0-9._@-]{0,63}$" } as const;
export const passwordSchema = (minLength: number) =>
  ({ type: "string", minLength, maxLength: MAX_PASSWORD_BYTES }) as const;

export interface AuthDependencies {
  readonly users: Pick<Users, "forLogin" | "loggedIn">;
  readonly sessions: Pick<Sessions, "create" | "touch" | "remove">;
  readonly ttlSeconds: number;
}

/** Session id of a request: `Authorization: Bearer ...`, else the cookie. */
export function sessionIdOf(headers: {
  authorization?: string | undefined;
  cookie?: string | undefined;
}): string | undefined {
  const bearer = /^Bearer ([^\s]+)$/i.exec(headers.authorization ?? "")?.[1];
  if (bearer) return bearer;
  for (const pair of (headers.cookie ?? "").split(";")) {
    const [name, value] = pair.trim().split("=", 2);
    if (name === COOKIE && value) return value;
  }
  return undefined;
}

export function sessionCookie(value: string, maxAgeSeconds: number): string {
  return `${COOKIE}=${value}; Path=/; Max-Age=${maxAgeSeconds}; Secure; HttpOnly; SameSite=Strict`;
}

/** The session of a request, its life extended.
 *  @throws ApiError 401 without one, 503 when Redis is not there */
export async function demandSession(request: FastifyRequest, sessions: Pick<Sessions, "touch">): Promise<Session> {
  const id = sessionIdOf(request.headers);
  const session = id === undefined ? undefined : await fromRedis(sessions.touch(id));
  if (!session) throw unauthenticated();
  return session;
}

/** Every failure of Redis is one of its availability: what is sent to it does not depend on who asks. */
async function fromRedis<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw Object.assign(unavailable("session store"), { cause: error });
  }
}

/** A session as its owner sees it. */
const shown = ({ userId, username, role, tenantId, serverId, createdAt, lastAccessed, expiresAt }: Session) => ({
  user: { id: userId, username, role, tenantId },
  session: { serverId, createdAt, lastAccessed, expiresAt },
});

export function authRoutes(app: FastifyInstance, { users, sessions, ttlSeconds }: AuthDependencies): void {
  const body = {
    type: "object",
    required: ["username", "password"],
    additionalProperties: false,
    properties: { username: usernameSchema, password: passwordSchema(1) },
  } as const;
  app.post<{ Body: { username: string; password: string } }>(
    "/api/auth/login",
    { schema: { body } },
    async (request, reply) => {
      const { username, password } = request.body;
      const { credentials, servedBy } = await users.forLogin(username);
      if (!(await verifyPassword(password, credentials?.passwordHash)) || !credentials) {
        request.log.info({ event: "login_refused" }, "login refused");
        throw new ApiError(401, "bad_credentials", "The user name or the password is wrong.");
      }
      const { id, role, tenantId } = credentials;
      const session = await fromRedis(sessions.create({ userId: id, username, role, tenantId }));
      if (servedBy.role === "primary") {
        // For the record: a primary that has just gone must not undo a login that has succeeded.
        await users
          .loggedIn(id)
          .catch((error: unknown) => request.log.warn({ err: error }, "time of the login not noted"));
      }
      void reply
        .header("set-cookie", sessionCookie(session.sessionId, ttlSeconds))
        .header("cache-control", "no-store")
        .header("x-served-by-role", servedBy.role)
        .header("x-database-node", servedBy.node);
      return { token: session.sessionId, tokenType: "Bearer", expiresIn: ttlSeconds, ...shown(session) };
    },
  );

  app.get("/api/auth/session", async (request, reply) => {
    const session = await demandSession(request, sessions);
    void reply.header("cache-control", "no-store");
    return shown(session);
  });

  app.post("/api/auth/logout", async (request, reply) => {
    const session = await demandSession(request, sessions);
    await fromRedis(sessions.remove(session));
    return reply.header("set-cookie", sessionCookie("", 0)).code(204).send();
  });
}
