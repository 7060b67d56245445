import { createHash } from "node:crypto";
import type { Rule } from "../../policies/rule.ts";
import { RULES } from "../../policies/rules/index.ts";
import { PROJECT } from "../render/stack-config.ts";
import type { CheckResult, Finding } from "./findings.ts";

/** Scores by which code scanning orders security results: the middle of each range of CVSS. */
const SCORES: Readonly<Record<Finding["severity"], string>> = {
  low: "2.0",
  medium: "5.5",
  high: "8.0",
  critical: "9.5",
};

/** Findings in SARIF 2.1.0: one result a finding, at the stack's config file, which is where it is mended. Rules link to
 *  their page where the environment says in IAM_HA_DOCS_URL where the project is shown: SARIF wants whole addresses. */
export function sarif({ findings }: Pick<CheckResult, "findings">, rules: readonly Rule[] = RULES): string {
  const prints = fingerprints(findings);
  const log = {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: { driver: { name: `${PROJECT} policies`, rules: rules.map(describe) } },
        originalUriBaseIds: { PROJECTROOT: { description: { text: "Top folder of the project" } } },
        results: findings.map((finding, i) => result(finding, rules, prints[i]!)),
      },
    ],
  };
  return JSON.stringify(log, null, 2);
}

function describe({ name, description, why, remediation, severity, level, policy }: Rule) {
  const page = policy.url ?? "";
  return {
    id: name,
    shortDescription: { text: description },
    fullDescription: { text: why },
    help: {
      text: `${why}\n\nWhat to do: ${remediation}\n\nSee ${page}`,
      markdown: `${why}\n\n**What to do:** ${remediation}\n\nSee ${page}`,
    },
    ...(URL.canParse(page) ? { helpUri: page } : {}),
    defaultConfiguration: { level: level === "advisory" ? "warning" : "error" },
    properties: { "security-severity": SCORES[severity], tags: ["policy"] },
  };
}

function result(finding: Finding, rules: readonly Rule[], fingerprint: string) {
  const { rule, level, message, remediation, stack, urn, object } = finding;
  const text = `${object ? `${object}: ` : ""}${message}\n${remediation}`;
  return {
    ruleId: rule,
    ruleIndex: rules.findIndex(({ name }) => name === rule),
    level: level === "mandatory" ? "error" : "warning",
    message: { text },
    locations: [
      {
        physicalLocation: { artifactLocation: { uri: `Pulumi.${stack}.yaml`, uriBaseId: "PROJECTROOT" } },
        logicalLocations: [
          {
            name: object ?? stack,
            ...(urn === undefined ? {} : { fullyQualifiedName: urn }),
            kind: object ? "resource" : "namespace",
          },
        ],
      },
    ],
    partialFingerprints: { "finding/v1": fingerprint },
  };
}

/** The same finding of two runs is one for whoever follows them: figures in its message may change, so it is known by
 *  its place, and by its number among those of the same place. */
function fingerprints(findings: readonly Finding[]): string[] {
  const seen = new Map<string, number>();
  return findings.map(({ stack, rule, urn }) => {
    const place = [stack, rule, urn ?? ""].join("\n");
    const number = seen.get(place) ?? 0;
    seen.set(place, number + 1);
    return createHash("sha256").update(`${place}\n${number}`).digest("hex");
  });
}
