import { isDeepStrictEqual } from "node:util";
import type { Severity } from "@pulumi/policy";
import analyzer, { type AnalyzeDiagnostic, type PolicyInfo } from "@pulumi/pulumi/proto/analyzer_pb.js";
import { isObject, titleOf } from "../../policies/facts/stack.ts";
import { unwrap, type RegisteredResource } from "../render/collect.ts";
import type { Analyzer } from "./analyzer.ts";
import type { Finding, JudgedResource, Remedied, StackResources } from "./findings.ts";
import { levelName } from "./levels.ts";
import { analyzeRequest, providersOf, stackResource, type Provider } from "./wire.ts";

/** Calls on their way at a time: enough that the pack never waits for us. */
const AT_A_TIME = 8;
/** How the SDK says that a rule read a value that is not known yet. It lets the resource pass then. */
const COULD_NOT_RUN = /^can't run .+ during preview: /s;

const SEVERITIES: Readonly<Record<number, Severity>> = {
  [analyzer.PolicySeverity.POLICY_SEVERITY_LOW]: "low",
  [analyzer.PolicySeverity.POLICY_SEVERITY_MEDIUM]: "medium",
  [analyzer.PolicySeverity.POLICY_SEVERITY_HIGH]: "high",
  [analyzer.PolicySeverity.POLICY_SEVERITY_CRITICAL]: "critical",
};

/** What a stack's resources are judged with. */
export interface Judge {
  readonly analyzer: Analyzer;
  /** Rules by name, as the pack describes them. */
  readonly rules: ReadonlyMap<string, PolicyInfo>;
  /** Whether some rule is at the level `remediate`. */
  readonly remediates: boolean;
}

/** Judges one stack as the engine does: each resource is remediated, then judged by itself; then all of them together,
 *  with their outputs where they have some. */
export async function judgeStack(
  judge: Judge,
  stack: StackResources,
): Promise<{ findings: Finding[]; remedied: Remedied[] }> {
  await judge.analyzer.configureStack(stack.name);
  const providerOf = providersOf(stack.resources);
  const each = await inParallel(stack.resources, async (resource) => {
    const result: Awaited<ReturnType<typeof remediate>> = judge.remediates
      ? await remediate(judge, stack.name, resource, providerOf(resource))
      : { resource, findings: [], remedied: [] };
    // What is deployed is as it is: what a remediation would make of it is told, and the resource judged without.
    const judged = stack.deployed ? resource : result.resource;
    const findings = await judgeResource(judge, stack.name, judged, providerOf(judged));
    return { ...result, judged, findings: [...result.findings, ...findings] };
  });
  const together = await judgeTogether(
    judge,
    stack.name,
    each.map(({ judged }) => judged),
  );
  return {
    findings: [...each.flatMap(({ findings }) => findings), ...together],
    remedied: each.flatMap(({ remedied }) => remedied),
  };
}

/** Judges one resource by itself. */
export async function judgeResource(
  { analyzer, rules }: Judge,
  stack: string,
  resource: RegisteredResource,
  provider: Provider | undefined,
): Promise<Finding[]> {
  const diagnostics = await analyzer.analyze(analyzeRequest(resource, provider));
  return diagnostics.map((diagnostic) => findingOf(diagnostic, { stack, rules, resource }));
}

/** Judges all resources of a stack together. */
export async function judgeTogether(
  { analyzer, rules }: Judge,
  stack: string,
  resources: readonly JudgedResource[],
): Promise<Finding[]> {
  const providerOf = providersOf(resources);
  const diagnostics = await analyzer.analyzeStack(
    resources.map((resource) => {
      const { outputs } = resource;
      const seen = outputs ? { ...resource, inputs: outputs.values, secretPaths: outputs.secretPaths } : resource;
      return stackResource(seen, providerOf(resource));
    }),
  );
  const byUrn = new Map(resources.map((resource) => [resource.urn, resource]));
  return diagnostics.map((diagnostic) =>
    findingOf(diagnostic, { stack, rules, resource: byUrn.get(diagnostic.getUrn()) }),
  );
}

async function remediate(
  { analyzer, rules }: Judge,
  stack: string,
  resource: JudgedResource,
  provider: Provider | undefined,
): Promise<{ resource: JudgedResource; findings: Finding[]; remedied: Remedied[] }> {
  const findings: Finding[] = [];
  const remedied: Remedied[] = [];
  let current = resource;
  for (const result of await analyzer.remediate(analyzeRequest(resource, provider, { internal: true }))) {
    const rule = result.getPolicyname();
    if (result.getDiagnostic() !== "") {
      findings.push(couldNotRun(ruleOf(rules, rule), result.getDiagnostic(), { stack, resource }));
      continue;
    }
    const secretPaths: string[][] = [];
    const wire = result.getProperties()?.toJavaScript() ?? {};
    const inputs = unwrap(wire, [], secretPaths) as Record<string, unknown>;
    const paths = changedPaths(current.inputs, inputs);
    // The remediation went over all of it; only what it changed is worth a word.
    if (paths.length === 0) continue;
    const description = result.getDescription();
    remedied.push({ stack, rule, description, urn: resource.urn, object: objectOf(resource), paths });
    current = { ...current, inputs, secretPaths };
  }
  return { resource: current, findings, remedied };
}

interface Place {
  readonly stack: string;
  readonly resource: RegisteredResource | undefined;
}

function findingOf(diagnostic: AnalyzeDiagnostic, place: Place & Pick<Judge, "rules">): Finding {
  const info = ruleOf(place.rules, diagnostic.getPolicyname());
  const message = diagnostic.getMessage();
  if (COULD_NOT_RUN.test(message)) return couldNotRun(info, message, place);
  const level = levelName(diagnostic.getEnforcementlevel());
  return {
    ...aboutRule(info, place),
    // What is still broken after a remediation stops a deployment, as at the level mandatory.
    level: level === "advisory" ? "advisory" : "mandatory",
    severity: severityOf(diagnostic.getSeverity(), info),
    // The SDK puts the description before what the rule says.
    message: message.startsWith(`${info.getDescription()}\n`)
      ? message.slice(info.getDescription().length + 1)
      : message,
  };
}

/** The SDK makes an advisory note of it; a rule that could not run has not passed. */
function couldNotRun(info: PolicyInfo, message: string, place: Place): Finding {
  return { ...aboutRule(info, place), level: "mandatory", severity: severityOf(info.getSeverity(), info), message };
}

function aboutRule(info: PolicyInfo, { stack, resource }: Place) {
  return {
    stack,
    rule: info.getName(),
    description: info.getDescription(),
    remediation: info.getRemediationSteps(),
    url: info.getUrl(),
    urn: resource?.urn,
    object: resource && objectOf(resource),
  };
}

function severityOf(number: number, info: PolicyInfo): Severity {
  return SEVERITIES[number] ?? SEVERITIES[info.getSeverity()] ?? "high";
}

function ruleOf(rules: Judge["rules"], name: string): PolicyInfo {
  const info = rules.get(name);
  if (!info) throw new Error(`the policy pack answers for ${name}, which is none of its rules`);
  return info;
}

/** `StatefulSet/postgresql-beijing`, or type and name of what is no Kubernetes object. */
function objectOf({ type, name, urn, inputs, protect, ignoreChanges }: RegisteredResource): string {
  const resource = { type, name, urn, props: inputs, opts: { protect, ignoreChanges: [...ignoreChanges] } };
  return isObject(resource) ? titleOf(resource) : `${type} ${name}`;
}

/** Paths at which two values differ, as deep as both have them. */
function changedPaths(before: unknown, after: unknown, path: readonly string[] = []): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isTree(before) || !isTree(after) || Array.isArray(before) !== Array.isArray(after)) return [path.join(".")];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys.flatMap((key) => changedPaths(before[key], after[key], [...path, key]));
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Results in the order of the items; the first error ends it. */
async function inParallel<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i]!);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return results;
}
