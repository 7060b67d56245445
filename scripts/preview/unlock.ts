import type { PolicyConfig } from "../policy/index.ts";

/** Rule of the policy pack that protects what holds data. Its configuration is the one place of the unlocks: the rule reads
 *  them for what it can see, the preview for what only it can, the state of before. */
export const PROTECTING_RULE = "data-protected";

/** Names that are unlocked in the policies' configuration: `{"data-protected": {"unlocked": ["StatefulSet/postgresql-beijing"]}}`.
 *  @throws Error when they are no list of names */
export function unlockedIn(config: PolicyConfig): string[] {
  const found = config[PROTECTING_RULE]?.properties["unlocked"] ?? [];
  if (Array.isArray(found) && found.every((name): name is string => typeof name === "string")) return [...found];
  throw new Error(
    `policy config ${PROTECTING_RULE}.unlocked: found ${JSON.stringify(found)}; give a list of names such as "StatefulSet/postgresql-beijing"`,
  );
}
