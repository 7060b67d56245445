import type { Severity } from "@pulumi/policy";
import type { RegisteredResource } from "../render/collect.ts";

/** One violation of a rule. */
export interface Finding {
  /** Stack whose resources break the rule: `beijing`. */
  readonly stack: string;
  /** Name of the rule: `pool-size`. */
  readonly rule: string;
  /** A mandatory finding stops a deployment; an advisory one is only shown. */
  readonly level: "advisory" | "mandatory";
  readonly severity: Severity;
  /** Path in the object or file, what was found, what is allowed. */
  readonly message: string;
  /** What has to be so. */
  readonly description: string;
  readonly remediation: string;
  /** Page that explains the rule, relative to the project's root. */
  readonly url: string;
  /** Resource that breaks the rule; undefined where it is the stack as a whole. */
  readonly urn: string | undefined;
  /** Kubernetes object of that resource: `StatefulSet/postgresql-beijing`; its type and name where it is none. */
  readonly object: string | undefined;
}

/** A change that a rule at the level `remediate` made before the rules judged the resource. */
export interface Remedied {
  readonly stack: string;
  readonly rule: string;
  readonly description: string;
  readonly urn: string;
  readonly object: string;
  /** Paths of the inputs that changed: `spec.template.spec.automountServiceAccountToken`. Values may be secret and are
   *  left out. */
  readonly paths: readonly string[];
}

/** A resource as its program registers it, or as it was deployed. */
export interface JudgedResource extends RegisteredResource {
  /** What a deployment made of the inputs, and the paths of secrets in it; undefined where nothing was deployed. */
  readonly outputs?: { readonly values: Record<string, unknown>; readonly secretPaths: readonly (readonly string[])[] };
}

/** A stack's resources. */
export interface StackResources {
  readonly name: string;
  readonly resources: readonly JudgedResource[];
  /** Whether they are what was deployed: then remediations are told, not applied. */
  readonly deployed?: boolean;
  /** Values that are encrypted, and so not known; default 0. */
  readonly encrypted?: number;
}

/** What the pack says of some stacks. */
export interface CheckResult {
  readonly findings: readonly Finding[];
  readonly remedied: readonly Remedied[];
  /** Rules that ran: those that are not disabled. */
  readonly rules: number;
  /** Time of the whole check, start of the analyzer included. */
  readonly millis: number;
}
