import type {
  EnforcementLevel,
  PolicyConfigSchema,
  ResourceValidationPolicy,
  Severity,
  StackValidationPolicy,
} from "@pulumi/policy";
import { z } from "zod";
import { CannotJudge, Stack, type Resource } from "./facts/stack.ts";
import { UnknownValueError } from "./unknown.ts";

/** What every rule says of itself. */
export interface RuleText {
  /** Unique in the pack, in kebab case: `pool-size`. Part of people's configuration, so it is never renamed. */
  readonly name: string;
  /** One sentence that says what has to be so. */
  readonly description: string;
  readonly severity: Severity;
  /** What goes wrong where the rule is broken, with the source of its figures. */
  readonly why: string;
  /** What to do: config keys, values. */
  readonly remediation: string;
  /** Default: mandatory. */
  readonly level?: EnforcementLevel;
}

/** Reports one violation: where (path in the object), what was found, what is allowed. */
export type Report = (message: string, resource?: Resource) => void;

interface ResourceRule<Config> extends RuleText {
  readonly config?: z.ZodObject & z.ZodType<Config>;
  /** Judges one resource; says nothing of resources that it is not about. */
  readonly check: (args: { resource: Resource; config: Config; report: Report }) => void;
  /** Repairs a resource's inputs where that is safe; changes `props` in place. Only run where the rule's enforcement
   *  level is `remediate`.
   *  @returns whether it changed anything */
  readonly remedy?: (props: Resource["props"], args: { resource: Resource; config: Config }) => boolean;
}

interface StackRule<Config> extends RuleText {
  readonly config?: z.ZodObject & z.ZodType<Config>;
  /** Judges all resources of a stack together. */
  readonly check: (args: { stack: Stack; config: Config; report: Report }) => void;
}

/** A rule as the pack takes it, with what documentation and tests need to know of it. */
export interface Rule extends RuleText {
  /** Schema of its configuration; undefined for a rule without choices. */
  readonly config: z.ZodObject | undefined;
  readonly policy: ResourceValidationPolicy | StackValidationPolicy;
}

/** Page that explains every rule, relative to the project's root. */
export const RULES_PAGE = "docs/policies.md";

/** A rule that looks at one resource at a time: it stops a bad resource before it is made. */
export function resourceRule<Config = Record<string, never>>(rule: ResourceRule<Config>): Rule {
  const { check, remedy } = rule;
  const policy: ResourceValidationPolicy = {
    ...policyText(rule),
    validateResource: (args, report) =>
      judged(report, () =>
        check({ resource: args, config: configOf(rule, args.getConfig()), report: (message) => report(message) }),
      ),
    ...(remedy
      ? {
          remediateResource: (args) =>
            remedy(args.props, { resource: args, config: configOf(rule, args.getConfig()) }) ? args.props : undefined,
        }
      : {}),
  };
  return { ...textOf(rule), config: rule.config, policy };
}

/** A rule that looks at several resources together. */
export function stackRule<Config = Record<string, never>>(rule: StackRule<Config>): Rule {
  const policy: StackValidationPolicy = {
    ...policyText(rule),
    validateStack: (args, report) =>
      judged(report, () =>
        rule.check({
          stack: new Stack(args.resources),
          config: configOf(rule, args.getConfig()),
          report: (message, resource) => report(message, resource?.urn),
        }),
      ),
  };
  return { ...textOf(rule), config: rule.config, policy };
}

/** What cannot be judged is a violation: the SDK would turn an unknown value into a note that stops nobody. */
function judged(report: (message: string) => void, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof UnknownValueError || error instanceof CannotJudge)
      report(`cannot be judged, and so does not pass: ${error.message}`);
    else throw error;
  }
}

function textOf({ name, description, severity, why, remediation, level }: RuleText): RuleText {
  return { name, description, severity, why, remediation, ...(level ? { level } : {}) };
}

function policyText(rule: RuleText & { readonly config?: z.ZodObject }) {
  return {
    name: rule.name,
    description: rule.description,
    severity: rule.severity,
    remediationSteps: rule.remediation,
    url: `${process.env["IAM_HA_DOCS_URL"] ?? ""}${RULES_PAGE}#${rule.name}`,
    ...(rule.level ? { enforcementLevel: rule.level } : {}),
    ...(rule.config ? { configSchema: jsonSchemaOf(rule.config) } : {}),
  };
}

function jsonSchemaOf(config: z.ZodObject): PolicyConfigSchema {
  // Keys with defaults are optional for whoever writes the configuration.
  const { properties = {}, required } = z.toJSONSchema(config, { io: "input", target: "draft-7" });
  return {
    properties: properties as PolicyConfigSchema["properties"],
    ...(required && required.length > 0 ? { required } : {}),
  };
}

/** The engine checks values against the schema, but lets unknown keys pass: a limit set under a mistyped key would be no
 *  limit.
 *  @throws Error with every problem, which ends the run */
function configOf<Config>(rule: { name: string; config?: z.ZodType<Config> }, given: object): Config {
  if (!rule.config) {
    const [key] = Object.keys(given);
    if (key !== undefined) throw new Error(`policy config ${rule.name}.${key}: unknown key; the rule has no choices`);
    return {} as Config;
  }
  const result = rule.config.safeParse(given, { reportInput: true });
  if (result.success) return result.data;
  throw new Error(configProblems(rule.name, result.error).join("\n"));
}

/** What is wrong with a rule's configuration: one line each, with the path. */
export function configProblems(name: string, error: z.ZodError): string[] {
  return error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => `policy config ${[name, ...issue.path, key].join(".")}: unknown key`)
      : [
          `policy config ${[name, ...issue.path].join(".")}: found ${JSON.stringify(issue.input) ?? "nothing"}; ${issue.message.replace(/^Invalid input: /, "")}`,
        ],
  );
}
