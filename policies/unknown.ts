import * as policy from "@pulumi/policy";

interface Internals {
  /** Thrown when a rule reads a value that only a deployment will know. */
  readonly UnknownValueError: new (...args: never[]) => Error;
  /** Wraps a resource's inputs as the analyzer does. */
  readonly unknownCheckingProxy: <T extends object>(inputs: T) => T;
}

// Exported by the SDK for tests of packs; only its type declarations leave them out.
export const { UnknownValueError, unknownCheckingProxy } = policy as unknown as Internals;

/** What is read, or undefined where only a deployment will know it. For values whose absence proves nothing bad. */
export function ifKnown<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof UnknownValueError) return undefined;
    throw error;
  }
}
