import type { ResourceValidationPolicy, StackValidationPolicy } from "@pulumi/policy";
import type { Rule } from "../../policies/rule.ts";
import { unknownCheckingProxy } from "../../policies/unknown.ts";
import { RULES } from "../../policies/rules/index.ts";
import type { RegisteredResource } from "../../scripts/render/collect.ts";
import { asResource } from "./stack.ts";

/** One violation, as the rule reports it. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
  readonly urn: string | undefined;
}

export interface DirectOptions {
  /** Whether inputs are wrapped as the engine's analyzer wraps them: who reads an unknown value gets an error. */
  readonly proxied?: boolean;
  /** Configuration by rule. */
  readonly config?: Readonly<Record<string, object>>;
  readonly rules?: readonly Rule[];
}

/** Runs the rules without a server. */
export async function runDirectly(
  resources: readonly RegisteredResource[],
  { proxied = false, config = {}, rules = RULES }: DirectOptions = {},
): Promise<Violation[]> {
  const seen = resources.map((registered) => {
    const resource = asResource(registered);
    return proxied ? { ...resource, props: unknownCheckingProxy(resource.props) } : resource;
  });
  const violations: Violation[] = [];
  for (const { name, policy } of rules) {
    const shared = { getConfig: () => config[name] ?? {}, stackTags: new Map() };
    if ("validateStack" in policy) {
      const args = { ...shared, resources: seen };
      await policy.validateStack(
        args as unknown as Parameters<StackValidationPolicy["validateStack"]>[0],
        (found, urn) => violations.push({ rule: name, message: String(found), urn }),
      );
    } else {
      const validate = policy.validateResource as Extract<
        ResourceValidationPolicy["validateResource"],
        (...args: never[]) => unknown
      >;
      for (const resource of seen) {
        const args = { ...shared, ...resource };
        await validate(args as unknown as Parameters<typeof validate>[0], (found) =>
          violations.push({ rule: name, message: String(found), urn: resource.urn }),
        );
      }
    }
  }
  return violations;
}
