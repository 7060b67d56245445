import type { FastifyInstance, FastifyReply } from "fastify";
import { ApiError } from "./errors.ts";
import { hashPassword } from "./passwords.ts";
import { demandSession, passwordSchema, usernameSchema } from "./routes-auth.ts";
import type { Sessions } from "./sessions.ts";
import type { ServedBy, Users } from "./users.ts";

export interface UserDependencies {
  readonly users: Pick<Users, "list" | "create">;
  readonly sessions: Pick<Sessions, "touch">;
}

interface ListQuery {
  after: string;
  limit: number;
  consistency: "eventual" | "primary";
}

function tell(reply: FastifyReply, servedBy: ServedBy): void {
  void reply
    .header("x-served-by-role", servedBy.role)
    .header("x-database-node", servedBy.node)
    .header("cache-control", "no-store");
}

/** Users. A list comes from a replica and may lag behind a user that was made a moment ago; who has to see their own
 *  write asks with `?consistency=primary`. */
export function userRoutes(app: FastifyInstance, { users, sessions }: UserDependencies): void {
  const querystring = {
    type: "object",
    additionalProperties: false,
    properties: {
      after: { type: "string", pattern: "^[0-9]{1,18}$", default: "0" },
      limit: { type: "integer", minimum: 1, maximum: 100, default: 50 },
      consistency: { type: "string", enum: ["eventual", "primary"], default: "eventual" },
    },
  } as const;
  app.get<{ Querystring: ListQuery }>("/api/users", { schema: { querystring } }, async (request, reply) => {
    await demandSession(request, sessions);
    const { after, limit, consistency } = request.query;
    const page = await users.list(consistency === "primary" ? "write" : "read", after, limit);
    tell(reply, page.servedBy);
    return { users: page.users, next: page.users.length === limit ? page.users.at(-1)!.id : null };
  });

  const body = {
    type: "object",
    required: ["username", "password"],
    additionalProperties: false,
    properties: {
      username: usernameSchema,
      password: passwordSchema(12),
      role: { type: "string", enum: ["admin", "user"], default: "user" },
    },
  } as const;
  app.post<{ Body: { username: string; password: string; role: string } }>(
    "/api/users",
    { schema: { body } },
    async (request, reply) => {
      const session = await demandSession(request, sessions);
      if (session.role !== "admin") throw new ApiError(403, "forbidden", "Only an administrator may make users.");
      const { username, password, role } = request.body;
      const { user, servedBy } = await users.create({ username, passwordHash: await hashPassword(password), role });
      tell(reply, servedBy);
      return reply.code(201).send({ user });
    },
  );
}
