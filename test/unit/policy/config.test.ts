import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { resourceRule } from "../../../policies/rule.ts";
import { parsePolicyConfig, readPolicyConfig, resolveConfig } from "../../../scripts/policy/config.ts";
import { ROOT } from "../../../scripts/paths.ts";

const text = { description: "a test", severity: "low", why: "a test", remediation: "none", check: () => {} } as const;
const RULES = [
  resourceRule({
    ...text,
    name: "limited",
    config: z.strictObject({ most: z.int().min(1).default(3), of: z.strictObject({ each: z.number() }).optional() }),
  }),
  resourceRule({ ...text, name: "plain" }),
];

function problems(value: unknown): string[] {
  try {
    parsePolicyConfig(value, RULES);
  } catch (error) {
    return (error as Error).message.split("\n");
  }
  return [];
}

describe("configuration of the policies", () => {
  it("is a level, or an object with keys, by rule", () => {
    const config = { all: "advisory", limited: { most: 5, enforcementLevel: "mandatory" }, plain: "disabled" };
    assert.deepEqual(parsePolicyConfig(config, RULES), {
      all: { level: "advisory", properties: {} },
      limited: { level: "mandatory", properties: { most: 5 } },
      plain: { level: "disabled", properties: {} },
    });
  });

  const bad: readonly [unknown, string][] = [
    [[], "policy config: found []; an object of rules is expected"],
    [null, "policy config: found null; an object of rules is expected"],
    [{ limit: "advisory" }, "policy config limit: unknown rule; rules are all, limited, plain"],
    [{ limited: { moast: 5 } }, "policy config limited.moast: unknown key; keys are most, of, enforcementLevel"],
    [{ plain: { most: 5 } }, "policy config plain.most: unknown key; keys are enforcementLevel"],
    [{ all: { most: 5 } }, "policy config all.most: unknown key; keys are enforcementLevel"],
    [{ limited: { of: { each: 1, other: 2 } } }, "policy config limited.of.other: unknown key"],
    [{ limited: { most: "5" } }, 'policy config limited.most: found "5"; expected number, received string'],
    [{ limited: { most: 0 } }, "policy config limited.most: found 0; Too small: expected number to be >=1"],
    [{ all: "mandatry" }, 'policy config all: found "mandatry"; levels are advisory, mandatory, remediate, disabled'],
    [
      { plain: 7 },
      "policy config plain: found 7; an object of its keys or a level is expected; levels are advisory, mandatory, remediate, disabled",
    ],
    [
      { plain: { enforcementLevel: null } },
      "policy config plain.enforcementLevel: found null; levels are advisory, mandatory, remediate, disabled",
    ],
  ];
  for (const [value, problem] of bad)
    it(`is refused: ${JSON.stringify(value)}`, () => {
      const found = problems(value);
      assert.equal(found.length, 1, found.join("\n"));
      assert.ok(found[0]!.startsWith(problem), found[0]);
    });

  it("is refused with everything that is wrong in it", () => {
    assert.equal(problems({ limit: "advisory", limited: { most: "5", moast: 5 }, plain: 7 }).length, 4);
  });

  it("is read from a file, whose name stands in every complaint", () => {
    const folder = mkdtempSync(join(tmpdir(), "iam-ha-config-"));
    const file = join(folder, "config.json");
    try {
      assert.throws(() => readPolicyConfig(file, RULES), /config\.json: ENOENT/);
      writeFileSync(file, "");
      assert.throws(() => readPolicyConfig(file, RULES), /config\.json: Unexpected end of JSON/);
      writeFileSync(file, '{"plain": "advisry"}');
      assert.throws(() => readPolicyConfig(file, RULES), /config\.json:\npolicy config plain: found "advisry"/);
      writeFileSync(file, '{"plain": "advisory"}');
      assert.deepEqual(readPolicyConfig(file, RULES), { plain: { level: "advisory", properties: {} } });
    } finally {
      rmSync(folder, { recursive: true });
    }
    readPolicyConfig(join(ROOT, "policies/embedded.json"));
  });

  it("lies over the rules' own, as the engine lays it", () => {
    const own = {
      limited: { level: "mandatory", properties: { most: 3 } },
      plain: { level: "advisory", properties: {} },
    } as const;
    assert.deepEqual(resolveConfig(own), own);
    assert.deepEqual(resolveConfig(own, parsePolicyConfig({ all: "disabled", limited: { most: 9 } }, RULES)), {
      limited: { level: "disabled", properties: { most: 9 } },
      plain: { level: "disabled", properties: {} },
    });
    assert.deepEqual(resolveConfig(own, parsePolicyConfig({ all: "disabled", limited: "remediate" }, RULES)), {
      limited: { level: "remediate", properties: { most: 3 } },
      plain: { level: "disabled", properties: {} },
    });
  });
});
