import type { ChangedStack } from "./stack.ts";

/** The smallest change to a real stack that breaks one limit of one rule. */
export interface Mutation {
  /** Rule that must object, and the only one. */
  readonly rule: string;
  /** The limit in words, for the table in docs/policies.md: `max over 100`. */
  readonly breaks: string;
  /** Stack that is changed; default beijing. */
  readonly region?: string;
  /** Rules that cannot judge any more once this limit is broken, and therefore object too. */
  readonly unjudged?: readonly string[];
  /** Part of the message: path, what was found, what is allowed. */
  readonly says: RegExp;
  readonly change: (stack: ChangedStack) => void;
}
