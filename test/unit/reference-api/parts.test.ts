import assert from "node:assert/strict";
import fc from "fast-check";
import pg from "pg";
import { isUnavailable, leavesConnection } from "../../../examples/reference-api/src/database.ts";
import { DeadlineError, within } from "../../../examples/reference-api/src/deadline.ts";
import { ApiError, describeError } from "../../../examples/reference-api/src/errors.ts";
import { healthCheck, overall } from "../../../examples/reference-api/src/health.ts";
import { sessionCookie, sessionIdOf } from "../../../examples/reference-api/src/routes-auth.ts";
import {
  isSessionId,
  newSessionId,
  serverSessionsKey,
  sessionKey,
  userSessionKey,
} from "../../../examples/reference-api/src/session-keys.ts";
import { readSettings, SettingsError } from "../../../examples/reference-api/src/settings.ts";

/** What decides the slot: the text in the first braces, by Redis' own rule. */
const hashTag = (key: string) => /\{([^}]+)\}/.exec(key)?.[1];

describe("session keys", () => {
  it("put a session and its user's mapping in one slot, whatever the user's id", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (userId) => {
        const id = newSessionId(userId);
        assert.ok(isSessionId(id));
        assert.ok(sessionKey(id).startsWith("session:{"));
        assert.match(hashTag(sessionKey(id)) ?? "", /^[0-9a-f]{4}$/);
        assert.equal(hashTag(sessionKey(id)), hashTag(userSessionKey(userId)));
      }),
    );
    assert.equal(serverSessionsKey("iam-api-1"), "server_sessions:{iam-api-1}");
  });

  it("never repeat and take no other text for an id", () => {
    assert.equal(new Set(Array.from({ length: 1000 }, () => newSessionId("1"))).size, 1000);
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (!isSessionId(text)) assert.throws(() => sessionKey(text), RangeError);
      }),
    );
    for (const bad of ["", "abcd", `${newSessionId("1")}\n`, `}${newSessionId("1")}`]) assert.ok(!isSessionId(bad));
  });
});

describe("the session id of a request", () => {
  it("comes from the header, then from the cookie", () => {
    assert.equal(sessionIdOf({ authorization: "Bearer abc", cookie: "iam_session=def" }), "abc");
    assert.equal(sessionIdOf({ cookie: "x=1; iam_session=def; y=2" }), "def");
    assert.equal(sessionIdOf({ cookie: "other_iam_session=def" }), undefined);
    assert.equal(sessionIdOf({ authorization: "Basic abc" }), undefined);
    assert.match(sessionCookie("v", 5), /^iam_session=v; .*Max-Age=5; Secure; HttpOnly; SameSite=Strict$/);
  });
});

describe("health", () => {
  it("is unhealthy without a needed part or without any, degraded without another", () => {
    assert.equal(overall([]), "healthy");
    const parts = fc.array(fc.record({ needed: fc.boolean(), ok: fc.boolean() }), { minLength: 1 });
    fc.assert(
      fc.property(parts, (all) => {
        const status = overall(all);
        assert.equal(
          status === "healthy",
          all.every(({ ok }) => ok),
        );
        assert.equal(status === "unhealthy", all.some(({ needed, ok }) => needed && !ok) || all.every(({ ok }) => !ok));
      }),
    );
  });

  it("ends with its time-out, shares one run among callers, and tells no more than a kind", async () => {
    let runs = 0;
    const hanging = healthCheck("x", 30, [
      { name: "hangs", needed: true, check: () => (runs++, new Promise(() => undefined)) },
      { name: "fails", needed: false, check: () => Promise.reject(new Error("password of 10.0.0.1 is wrong")) },
    ]);
    const [one, two] = await Promise.all([hanging(), hanging()]);
    assert.equal(runs, 1);
    assert.equal(one, two);
    assert.equal(one.status, "unhealthy");
    assert.deepEqual(one.details, { hangs: { ok: false, error: "timeout" }, fails: { ok: false, error: "failed" } });
    await hanging();
    assert.equal(runs, 2);
  });
});

describe("errors of the database", () => {
  const server = (code: string) => Object.assign(new pg.DatabaseError("x", 1, "error"), { code });
  it("take a read-only server for one that is gone", () => {
    assert.ok(isUnavailable(server("25006")) && leavesConnection(server("25006")));
  });
  it("tell what is gone from what was wrong", () => {
    for (const code of ["57P01", "08006", "08P01", "53300"]) assert.ok(isUnavailable(server(code)), code);
    for (const code of ["23505", "42P01", "22P02"]) {
      assert.ok(!isUnavailable(server(code)), code);
      assert.ok(!leavesConnection(server(code)), code);
    }
    assert.ok(isUnavailable(Object.assign(new Error("connect"), { code: "ECONNREFUSED" })));
    assert.ok(isUnavailable(new Error("Query read timeout")));
    assert.ok(!isUnavailable(new TypeError("x is not a function")));
    assert.ok(leavesConnection(new TypeError("x is not a function")));
  });
  it("are logged without what drivers hang on them", () => {
    const error = Object.assign(new Error("WRONGPASS"), {
      command: { name: "auth", args: ["iam", "geheim"] },
      code: "X",
    });
    const text = JSON.stringify(describeError(Object.assign(new ApiError(503, "unavailable", "no"), { cause: error })));
    assert.match(text, /WRONGPASS/);
    assert.doesNotMatch(text, /geheim/);
  });
});

describe("a deadline", () => {
  it("gives the result in time and an error after it", async () => {
    assert.equal(await within("x", 1000, Promise.resolve(1)), 1);
    await assert.rejects(within("x", 10, new Promise(() => undefined)), DeadlineError);
  });
});

describe("settings of the reference API", () => {
  const env = {
    CA_FILE: "/ca",
    DATABASE_HOST: "pgbouncer",
    DATABASE_USER: "iam_app",
    DATABASE_PASSWORD_FILE: "/d",
    REDIS_HOST: "redis",
    REDIS_PASSWORD_FILE: "/r",
    ADMIN_PASSWORD_FILE: "/a",
  };
  it("have the defaults of the design", () => {
    const settings = readSettings(env);
    assert.equal(settings.port, 3000);
    assert.equal(settings.sessionTtlSeconds, 3600);
    assert.deepEqual(settings.healthTimeouts, { api: 5000, database: 3000, redis: 3000, external: 5000 });
    assert.equal(settings.database.write, "iam");
    assert.equal(settings.database.read, "iam_ro");
    assert.equal(settings.tls, undefined);
  });
  it("name every problem at once", () => {
    assert.throws(
      () => readSettings({ PORT: "http", EXTERNAL_SERVICES: "x", TLS_CERT_FILE: "/c" }),
      (error: unknown) => error instanceof SettingsError && error.problems.length === 7 + 1 + 1 + 1,
    );
  });
});
