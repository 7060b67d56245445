import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { collect, UNKNOWN } from "../../scripts/render/collect.ts";

class Sample extends pulumi.ComponentResource {
  constructor(name: string, opts?: pulumi.ComponentResourceOptions) {
    super("iam-ha:test:Sample", name, {}, opts);
    const made = new random.RandomPassword("made", { length: 8 }, { parent: this });
    new k8s.core.v1.Secret(
      "s",
      { stringData: { p: pulumi.secret(made.result), q: "open" } },
      { parent: this, protect: true },
    );
    this.registerOutputs({});
  }
}

const program = async () => {
  const provider = new k8s.Provider("region", { context: "x" });
  new Sample("sample", { providers: [provider] });
  return { url: pulumi.secret("https://x") };
};
const compute = (type: string) => (type.startsWith("random:") ? { result: "made-up" } : undefined);

describe("collecting a program's resources without the engine", () => {
  it("shows inputs, secrets, protection, parents and providers", async () => {
    const { resources, outputs } = await collect(program, { stack: "beijing", preview: false, compute });
    const secret = resources.find((r) => r.type === "kubernetes:core/v1:Secret");
    assert.ok(secret);
    assert.deepEqual(secret.inputs["stringData"], { p: "made-up", q: "open" });
    // Pulumi's SDK marks the whole of a Secret's data.
    assert.ok(secret.secretPaths.some((path) => path[0] === "stringData"));
    assert.equal(secret.protect, true);
    assert.match(secret.parent, /iam-ha:test:Sample::sample$/);
    assert.match(secret.provider, /pulumi:providers:kubernetes::region::/);
    assert.deepEqual(outputs, { url: "https://x" });
  });

  it("leaves what a provider would compute unknown in a preview", async () => {
    const { resources } = await collect(program, { stack: "beijing", preview: true, compute });
    const secret = resources.find((r) => r.type === "kubernetes:core/v1:Secret");
    // One unknown value makes the whole of a Secret's data unknown, as in a real preview.
    assert.equal(secret?.inputs["stringData"], UNKNOWN);
  });

  it("passes on what the program throws", async () => {
    await assert.rejects(
      collect(() => Promise.reject(new Error("no such region")), { stack: "x", preview: false }),
      /no such region/,
    );
  });
});
