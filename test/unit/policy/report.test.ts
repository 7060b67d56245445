import assert from "node:assert/strict";
import fc from "fast-check";
import { RULES } from "../../../policies/rules/index.ts";
import type { CheckResult, Finding } from "../../../scripts/policy/findings.ts";
import { passes, reportJson, reportText, wrap } from "../../../scripts/policy/report.ts";
import { redactor } from "../../../scripts/policy/redact.ts";
import { sarif } from "../../../scripts/policy/sarif.ts";
import type { RegisteredResource } from "../../../scripts/render/collect.ts";

const finding: Finding = {
  stack: "beijing",
  rule: "pool-size",
  level: "mandatory",
  severity: "high",
  message: 'data["pgbouncer.ini"] [databases] iam: found pool_size 101; at most 100 is allowed',
  description: "Every pool keeps at least one connection open.",
  remediation: "Set iam-ha:pooler.write.",
  url: "docs/policies.md#pool-size",
  urn: "urn:pulumi:beijing::iam-ha::kubernetes:core/v1:ConfigMap::beijing-pooler-config",
  object: "ConfigMap/pgbouncer-config",
};
const result: CheckResult = {
  findings: [finding, { ...finding, level: "advisory", stack: "shanghai", urn: undefined, object: undefined }],
  remedied: [{ stack: "beijing", rule: "x", description: "", urn: "urn:x", object: "Secret/x", paths: ["a.b", "c"] }],
  rules: 12,
  millis: 5,
};

/** What is read of SARIF here. */
interface Log {
  $schema: string;
  version: string;
  runs: {
    tool: { driver: { rules: SarifRule[] } };
    results: {
      ruleId: string;
      ruleIndex: number;
      level: string;
      message: { text: string };
      partialFingerprints: Record<string, string>;
      locations: { physicalLocation: { artifactLocation: { uri: string } }; logicalLocations: object[] }[];
    }[];
  }[];
}
interface SarifRule {
  id: string;
  helpUri?: string;
  shortDescription: { text: string };
  fullDescription: { text: string };
  help: { text: string; markdown: string };
  defaultConfiguration: { level: string };
}

describe("report of the policies", () => {
  it("shows findings by stack and rule, with what to do", () => {
    assert.equal(
      reportText(result, { resources: 291, width: 60 }),
      `beijing
  pool-size  high, mandatory
    Every pool keeps at least one connection open.
    - ConfigMap/pgbouncer-config
      data["pgbouncer.ini"] [databases] iam: found pool_size
      101; at most 100 is allowed
    What to do: Set iam-ha:pooler.write.
    Why: docs/policies.md#pool-size

shanghai
  pool-size  high, advisory
    Every pool keeps at least one connection open.
    - the stack as a whole
      data["pgbouncer.ini"] [databases] iam: found pool_size
      101; at most 100 is allowed
    What to do: Set iam-ha:pooler.write.
    Why: docs/policies.md#pool-size

beijing: x remediates Secret/x: a.b, c

12 rules, 291 resources, 2 violations (1 mandatory, 1 advisory)`,
    );
    const none = { ...result, findings: [], remedied: [] };
    assert.equal(reportText(none, { resources: 1 }), "12 rules, 1 resource, 0 violations");
    assert.equal(passes(result.findings), false);
    assert.equal(passes(result.findings.slice(1)), true);
    assert.deepEqual(JSON.parse(reportJson(none, { resources: 1 })), { passed: true, resources: 1, ...none });
  });

  it("wraps lines where words allow it, and loses none", () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z]{1,30}$/), { minLength: 1 }),
        fc.integer({ min: 10, max: 80 }),
        (words, width) => {
          const lines = wrap(words.join(" "), "  - ", width);
          assert.deepEqual(lines.join(" ").replace("  - ", "").split(/\s+/).filter(Boolean), words);
          for (const line of lines) assert.ok(line.length <= width || !line.slice(4).includes(" "), line);
        },
      ),
    );
  });

  it("is SARIF 2.1.0 with its rules, results and places", () => {
    const log = JSON.parse(sarif(result)) as Log;
    assert.equal(log.version, "2.1.0");
    assert.match(log.$schema, /sarif-2\.1\.0\.json$/);
    const run = log.runs[0]!;
    const { rules } = run.tool.driver;
    assert.deepEqual(
      rules.map(({ id }) => id),
      RULES.map(({ name }) => name),
    );
    for (const rule of rules) {
      assert.ok(rule.shortDescription.text && rule.fullDescription.text && rule.help.text && rule.help.markdown);
      assert.ok(["error", "warning"].includes(rule.defaultConfiguration.level));
      assert.ok(rule.helpUri === undefined || URL.canParse(rule.helpUri), rule.helpUri);
    }
    assert.deepEqual(
      run.results.map(({ level }) => level),
      ["error", "warning"],
    );
    for (const one of run.results) {
      assert.equal(rules[one.ruleIndex]!.id, one.ruleId);
      assert.match(one.message.text, /pool_size 101/);
      assert.match(one.partialFingerprints["finding/v1"]!, /^[0-9a-f]{64}$/);
    }
    const [first, second] = run.results.map((one) => ({ ...one, ...one.locations[0]! }));
    assert.ok(first && second);
    assert.equal(first.physicalLocation.artifactLocation.uri, "Pulumi.beijing.yaml");
    assert.deepEqual(first.logicalLocations, [
      { name: finding.object, fullyQualifiedName: finding.urn, kind: "resource" },
    ]);
    assert.equal(second.physicalLocation.artifactLocation.uri, "Pulumi.shanghai.yaml");
    assert.notEqual(first.partialFingerprints["finding/v1"], second.partialFingerprints["finding/v1"]);
  });

  it("tells two findings at one place apart, and knows both again", () => {
    const twice = { findings: [finding, { ...finding, message: "another" }] };
    const prints = (text: string) =>
      (JSON.parse(text) as Log).runs[0]!.results.map(({ partialFingerprints }) => partialFingerprints);
    const [one, two] = prints(sarif(twice));
    assert.notDeepEqual(one, two);
    assert.deepEqual(prints(sarif(twice)), [one, two]);
  });
});

describe("masking of secrets", () => {
  const resource = (type: string, inputs: object, secretPaths: string[][]) =>
    ({ type, inputs, secretPaths }) as unknown as RegisteredResource;
  const redact = redactor([
    resource("random:index/randomPassword:RandomPassword", { result: "hunter2hunter2" }, [["result"]]),
    resource(
      "kubernetes:core/v1:Secret",
      {
        metadata: { name: "credentials" },
        stringData: { file: "user = postgresql\npassword = 'Tr0ub4dor-and-3'\n" },
        data: { old: Buffer.from("correct-horse-battery").toString("base64") },
      },
      [],
    ),
    resource("kubernetes:core/v1:ConfigMap", { data: { user: "postgresql" } }, []),
  ]);

  it("covers secret values, words of secret files, and what base64 hides, but no word that is open elsewhere", () => {
    const text = `credentials of postgresql: hunter2hunter2 Tr0ub4dor-and-3 correct-horse-battery`;
    assert.equal(redact(text), "credentials of postgresql: (secret) (secret) (secret)");
  });

  it("covers the part of a text that the JSON parser shows", () => {
    for (const text of ['{"password": hunter}', "hunter", `{"a": "${"x".repeat(100)}", "b": hunter, "c": "y"}`]) {
      let message = "";
      try {
        JSON.parse(text);
      } catch (error) {
        message = (error as Error).message;
      }
      assert.match(message, /hunter/);
      assert.doesNotMatch(redact(message), /hunt/);
      assert.match(redact(message), /not valid JSON/);
    }
  });
});
