import assert from "node:assert/strict";
import { parse } from "yaml";
import { splitConfig, stackFile } from "../../../scripts/start/pulumi-stack.ts";

const config = {
  region: "beijing",
  redis: { storage: "1Gi" },
  secrets: { redis: "first-password" },
  certificatePems: { "edge-client": { key: "PEM" } },
};

describe("config of a stack on this machine", () => {
  it("puts secrets apart, each under a path that the engine understands", () => {
    assert.deepEqual(splitConfig(config), {
      plain: { "iam-ha:region": "beijing", "iam-ha:redis": { storage: "1Gi" } },
      secrets: { "iam-ha:secrets.redis": "first-password", 'iam-ha:certificatePems["edge-client"].key': "PEM" },
    });
  });

  it("writes no secret text", () => {
    const { plain, secrets } = splitConfig(config);
    const text = stackFile(plain, Object.keys(secrets), undefined);
    assert.ok(!text.includes("first-password") && !text.includes("PEM"));
    assert.deepEqual(parse(text), { config: plain });
  });

  it("keeps the salt and the encrypted values that are still wanted, and drops the others", () => {
    const { plain, secrets } = splitConfig(config);
    const old = {
      encryptionsalt: "salt",
      config: {
        "iam-ha:region": "shanghai",
        "iam-ha:secrets": { redis: { secure: "a" }, apiAdmin: { secure: "b" } },
        "iam-ha:certificatePems": { "edge-client": { key: { secure: "c" }, ca: { secure: "d" } } },
      },
    };
    assert.deepEqual(parse(stackFile(plain, Object.keys(secrets), old)), {
      encryptionsalt: "salt",
      config: {
        ...plain,
        "iam-ha:secrets": { redis: { secure: "a" } },
        "iam-ha:certificatePems": { "edge-client": { key: { secure: "c" } } },
      },
    });
  });
});
