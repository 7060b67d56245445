import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkStacks, type Finding } from "../../scripts/policy/index.ts";
import { readState } from "../../scripts/policy/state.ts";
import { toWire } from "../../scripts/policy/wire.ts";
import { SECRET, SIGNATURE, UNKNOWN, type RegisteredResource } from "../../scripts/render/collect.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { MUTATIONS } from "./mutations/index.ts";
import { ChangedStack, realStack } from "./stack.ts";

const gist = (findings: readonly Finding[]) =>
  findings.map(({ stack, rule, message, urn, object }) => ({ stack, rule, message, urn, object }));

/** What `pulumi stack export` writes of resources: secrets encrypted, or in plain with --show-secrets. */
function exported(resources: readonly RegisteredResource[], how: "encrypted" | "plain") {
  const seal = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(seal);
    if (typeof value !== "object" || value === null) return value;
    const record = value as Record<string, unknown>;
    if (record[SIGNATURE] !== SECRET) return Object.fromEntries(Object.entries(record).map(([k, v]) => [k, seal(v)]));
    return how === "plain"
      ? { [SIGNATURE]: SECRET, plaintext: JSON.stringify(record["value"]) }
      : { [SIGNATURE]: SECRET, ciphertext: "v1:abc:def" };
  };
  return {
    version: 3,
    deployment: {
      manifest: { time: "2026-01-01T00:00:00Z", magic: "x", version: "v3.270.0" },
      secrets_providers: { type: "passphrase", state: { salt: "v1:salt" } },
      resources: resources.map(
        ({ urn, type, custom, parent, provider, protect, ignoreChanges, dependencies, ...rest }) => {
          const inputs = seal(toWire(rest.inputs, rest.secretPaths)) as object;
          return {
            urn,
            type,
            custom,
            id: custom ? "id" : undefined,
            inputs,
            outputs: { ...inputs, __initialApiVersion: "v1" },
            ...(parent === "" ? {} : { parent }),
            ...(provider === "" ? {} : { provider }),
            ...(protect ? { protect } : {}),
            ...(ignoreChanges.length > 0 ? { ignoreChanges } : {}),
            ...(dependencies.length > 0 ? { dependencies } : {}),
          };
        },
      ),
    },
  };
}

describe("a state file", () => {
  let folder = "";
  let file = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "iam-ha-state-"));
    file = join(folder, "state.json");
  });
  after(() => rmSync(folder, { recursive: true }));
  const read = (value: unknown) => {
    writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
    return readState(file);
  };

  it("passes as the render of the same stack does", async () => {
    const stacks = [];
    for (const region of Object.keys(DEFAULT_REGIONS)) stacks.push(read(exported(await realStack(region), "plain")));
    assert.deepEqual(
      stacks.map(({ name }) => name),
      Object.keys(DEFAULT_REGIONS),
    );
    assert.deepEqual(gist((await checkStacks(stacks)).findings), []);
  });

  it("has the findings of the render of the same stack", async () => {
    const stack = new ChangedStack(await realStack("beijing"));
    // One of each rule's: all at once break as many rules as can be broken together.
    for (const rule of new Set(MUTATIONS.map((one) => one.rule))) {
      const before = structuredClone(stack.resources);
      const mutation = MUTATIONS.find((one) => one.rule === rule && (one.region ?? "beijing") === "beijing");
      try {
        mutation?.change(stack);
      } catch {
        // Another one has changed what this one looks for.
        stack.resources.splice(0, stack.resources.length, ...before);
      }
    }
    const rendered = await checkStacks([{ name: "beijing", resources: stack.resources }]);
    assert.ok(rendered.findings.length > 0);
    const plain = await checkStacks([read(exported(stack.resources, "plain"))]);
    assert.deepEqual(gist(plain.findings), gist(rendered.findings));
    // A rule that needs a secret does not pass without it: there may be more, never less.
    const encrypted = await checkStacks([read(exported(stack.resources, "encrypted"))]);
    const rules = new Set(encrypted.findings.map(({ rule }) => rule));
    for (const { rule } of rendered.findings) assert.ok(rules.has(rule), `${rule} passes where secrets are not known`);
  });

  it("has encrypted secrets as values that are not known, and plain ones as they are", async () => {
    const resources = await realStack("beijing");
    const secret = resources.find(({ type }) => type.endsWith(":Secret"))!;
    const of = (how: "encrypted" | "plain") =>
      read(exported(resources, how)).resources.find(({ urn }) => urn === secret.urn)!;
    assert.deepEqual(of("plain").inputs, secret.inputs);
    assert.deepEqual(of("plain").secretPaths, secret.secretPaths);
    assert.equal(of("encrypted").inputs["stringData"], UNKNOWN);
    assert.equal(read(exported([secret], "encrypted")).encrypted, 1);
    assert.equal(read(exported([secret], "plain")).encrypted, 0);
    assert.deepEqual(of("encrypted").secretPaths, secret.secretPaths);
    assert.equal(of("encrypted").outputs?.values["stringData"], UNKNOWN);
    const { name, protect, provider, dependencies } = secret;
    const { name: n, protect: p, provider: v, dependencies: d } = of("plain");
    assert.deepEqual([n, p, v, d], [name, protect, provider, dependencies]);
  });

  it("leaves out what is on its way out", async () => {
    const state = exported(await realStack("beijing"), "encrypted");
    const [first, second, ...rest] = state.deployment.resources;
    Object.assign(second!, { delete: true });
    const { resources } = read(state);
    assert.equal(resources.length, rest.length + 1);
    assert.equal(resources[0]!.urn, first!.urn);
  });

  it("that is none is refused with what is wrong, and without values", async () => {
    const good = exported((await realStack("beijing")).slice(0, 2), "encrypted");
    const bad = (change: (state: ReturnType<typeof exported>) => void) => {
      const state = structuredClone(good);
      change(state);
      return () => read(state);
    };
    read(good);
    assert.throws(() => readState(join(folder, "none.json")), /none\.json: ENOENT.*pulumi stack export/);
    assert.throws(
      () => read("s3cr3t"),
      (error: Error) => /is no JSON/.test(error.message) && !/s3cr3t/.test(String(error.stack)),
    );
    assert.throws(() => read([]), /the file: found a list; expected object/);
    assert.throws(
      bad((state) => (state.version = 2)),
      /version: found 2; expected 3/,
    );
    assert.throws(
      bad((state) => delete (state as { deployment?: object }).deployment),
      /deployment: found nothing/,
    );
    assert.throws(
      bad((state) => (state.deployment.resources = [])),
      /deployment\.resources: .*no resources/,
    );
    assert.throws(
      bad((state) => Object.assign(state.deployment.resources[1]!, { urn: "s3cr3t" })),
      /deployment\.resources\.1\.urn: found a text; a URN is expected/,
    );
    assert.throws(
      bad((state) => Object.assign(state.deployment.resources[1]!, { custom: "yes", inputs: 7 })),
      /resources\.1\.custom: found a text; expected boolean.*\n.*resources\.1\.inputs: found 7; expected record/,
    );
    const other = (project: string) => (state: ReturnType<typeof exported>) =>
      (state.deployment.resources[1]!.urn = `urn:pulumi:${project}::pulumi:pulumi:Stack::x`);
    assert.throws(bad(other("beijing::other")), /project other; the policies are of iam-ha/);
    assert.throws(bad(other("shanghai::iam-ha")), /stacks beijing, shanghai; one is expected/);
  });
});
