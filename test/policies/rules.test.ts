import assert from "node:assert/strict";
import { UNKNOWN } from "../../scripts/render/collect.ts";
import { RULES } from "../../policies/rules/index.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { runDirectly } from "./direct.ts";
import { MUTATIONS } from "./mutations/index.ts";
import { ChangedStack, realStack } from "./stack.ts";

const text = (violations: Awaited<ReturnType<typeof runDirectly>>) =>
  violations.map(({ rule, message }) => `${rule}: ${message}`).join("\n");

describe("rules of the policy pack", () => {
  it("have names that are unique, and each a mutation that breaks it", () => {
    const names = RULES.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    for (const name of names) {
      assert.match(name, /^[a-z]+(-[a-z]+)*$/);
      assert.ok(
        MUTATIONS.some(({ rule }) => rule === name),
        `no mutation breaks ${name}`,
      );
    }
    for (const { rule } of MUTATIONS) assert.ok(names.includes(rule), `a mutation names ${rule}, which is no rule`);
  });

  for (const region of Object.keys(DEFAULT_REGIONS)) {
    for (const preview of [false, true]) {
      it(`${region} passes them all${preview ? " at preview, with unknown values" : ""}`, async () => {
        const violations = await runDirectly(await realStack(region, { preview }), { proxied: preview });
        assert.equal(text(violations), "");
      });
    }
  }

  for (const { rule, breaks, region = "beijing", says, change, unjudged = [] } of MUTATIONS) {
    describe(`${rule}: ${breaks}`, () => {
      it("is found, by this rule alone", async () => {
        for (const proxied of [false, true]) {
          const stack = new ChangedStack(await realStack(region));
          change(stack);
          const violations = await runDirectly(stack.resources, { proxied });
          const found = violations.filter(
            (one) => !(unjudged.includes(one.rule) && one.message.startsWith("cannot be judged")),
          );
          assert.deepEqual([...new Set(found.map((one) => one.rule))], [rule], text(violations));
          assert.match(text(violations), says);
        }
      });

      it("does not pass where the value is not known yet", async () => {
        const stack = new ChangedStack(await realStack(region));
        const before = structuredClone(stack.resources);
        change(stack);
        const unknown = stack.resources.map((resource) => {
          const old = before.find(({ urn }) => urn === resource.urn);
          return old
            ? { ...resource, inputs: forgotten(old.inputs, resource.inputs) as typeof resource.inputs }
            : resource;
        });
        const violations = await runDirectly(unknown, { proxied: true });
        assert.ok(
          violations.some((one) => one.rule === rule),
          `${rule} passes: ${text(violations)}`,
        );
      });
    });
  }
});

/** The new value, with what differs from the old one not known. */
function forgotten(before: unknown, after: unknown): unknown {
  if (JSON.stringify(before) === JSON.stringify(after)) return after;
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length)
    return after.map((item, i) => forgotten(before[i], item));
  if (isRecord(before) && isRecord(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return Object.fromEntries(keys.map((key) => [key, forgotten(before[key], after[key])]));
  }
  return UNKNOWN;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
