import { readFileSync } from "node:fs";
import { z } from "zod";

/** Rule of the policy pack that protects what holds data. Its configuration is the one place of the unlocks: the rule reads
 *  them for what it can see, the preview for what only it can, the state of before. */
export const PROTECTING_RULE = "data-protected";

const unlocks = z.looseObject({ unlocked: z.array(z.string()).optional() });
const policyConfig = z.looseObject({ [PROTECTING_RULE]: z.union([unlocks, z.string()]).optional() });

/** Reads a policy configuration file, as `pulumi preview --policy-pack-config` takes it.
 *  @throws Error with the file and what is wrong with it */
export function readPolicyConfig(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`--config ${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    throw new Error(`--config ${file}: is no JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  throw new Error(`--config ${file}: must be a JSON object, with a rule's configuration under its name`);
}

/** Names that are unlocked in a policy configuration: `{"data-protected": {"unlocked": ["StatefulSet/postgresql-beijing"]}}`.
 *  @throws Error when the list is none */
export function unlockedIn(config: Readonly<Record<string, unknown>>): string[] {
  const result = policyConfig.safeParse(config);
  if (!result.success)
    throw new Error(
      result.error.issues
        .map(
          ({ path, message }) =>
            `policy config ${path.join(".")}: ${message}; give a list of names such as "StatefulSet/postgresql-beijing"`,
        )
        .join("\n"),
    );
  const entry = result.data[PROTECTING_RULE] as z.infer<typeof unlocks> | string | undefined;
  return typeof entry === "object" ? [...(entry.unlocked ?? [])] : [];
}
