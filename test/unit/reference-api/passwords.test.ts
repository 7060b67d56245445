import assert from "node:assert/strict";
import fc from "fast-check";
import { ApiError } from "../../../examples/reference-api/src/errors.ts";
import { hashPassword, verifyPassword } from "../../../examples/reference-api/src/passwords.ts";

describe("passwords", function () {
  this.timeout(60_000);

  it("are hashed with their cost and a salt of their own", async () => {
    const [one, two] = await Promise.all([hashPassword("correct horse"), hashPassword("correct horse")]);
    assert.match(one, /^\$scrypt\$ln=14,r=8,p=5\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.notEqual(one, two);
    assert.ok(await verifyPassword("correct horse", one));
    assert.ok(!(await verifyPassword("correct horsf", one)));
    assert.ok(!(await verifyPassword("", one)));
  });

  it("are compared as people type them, however the letters are composed", async () => {
    assert.ok(await verifyPassword("cafe\u0301", await hashPassword("caf\u00e9")));
  });

  it("never match when there is no such user", async () => {
    assert.equal(await verifyPassword("anything", undefined), false);
  });

  it("are not compared with a hash of another form or an unbounded cost", async () => {
    const hash = await hashPassword("x");
    for (const bad of [
      "",
      "plain",
      hash.replace("ln=14", "ln=30"),
      hash.replace("p=5", "p=99"),
      `${hash}A`,
      hash.slice(0, -1),
    ]) {
      await assert.rejects(verifyPassword("x", bad), /stored password hash/);
    }
  });

  it("match exactly themselves", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), async (password, other) => {
        const hash = await hashPassword(password);
        assert.equal(await verifyPassword(password, hash), true);
        assert.equal(await verifyPassword(other, hash), password.normalize("NFKC") === other.normalize("NFKC"));
      }),
      { numRuns: 2 },
    );
  });

  it("are refused rather than queued without end, and taken again afterwards", async () => {
    const results = await Promise.allSettled(Array.from({ length: 30 }, () => verifyPassword("x", undefined)));
    const refused = results.filter((result) => result.status === "rejected");
    assert.equal(refused.length, 30 - 2 - 16);
    for (const { reason } of refused)
      assert.ok(reason instanceof ApiError && reason.status === 503 && reason.code === "overloaded");
    assert.equal(await verifyPassword("x", undefined), false);
  });
});
