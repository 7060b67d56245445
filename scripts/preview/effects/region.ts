import type { KubernetesObject } from "../../render/objects.ts";
import type { ObjectChange } from "../diff.ts";
import { parseFile } from "../files.ts";
import { componentOf, titleOf } from "../objects.ts";
import { REGION_FILE } from "./config.ts";
import type { Effect } from "./effect.ts";

/** Who is active at first, as the region controller's file says it. */
interface Activity {
  readonly active: readonly string[];
  readonly role: string;
}

/** Whether the change makes another region the active one, by what the region controller is told. That is moved by the
 *  lease alone, and never by a change of configuration. */
export function activityEffects(change: ObjectChange): Effect[] {
  const { id, before, after, action } = change;
  const concerned = [before, after].some(
    (object) => object?.kind === "ConfigMap" && componentOf(object) === REGION_FILE.component,
  );
  if (!concerned || action !== "changed") return [];
  const [old, now] = [activityOf(before), activityOf(after)];
  const effect = (reason: string): Effect[] => [{ kind: "active-region", object: titleOf(id), reason }];
  if (!old || !now)
    return effect(
      `${REGION_FILE.file} ${old ? "of after the change" : "as it is"} does not say who is active: whether that changes cannot be told`,
    );
  const list = (names: readonly string[]) => names.join(", ") || "nobody";
  const said: string[] = [];
  if (list(old.active) !== list(now.active)) said.push(`initially active ${list(old.active)} → ${list(now.active)}`);
  if (old.role !== now.role) said.push(`this region's role ${old.role} → ${now.role}`);
  return said.length === 0 ? [] : effect(`${REGION_FILE.file}: ${said.join("; ")}`);
}

function activityOf(object: KubernetesObject | undefined): Activity | undefined {
  const text = (object?.["data"] as Record<string, unknown> | undefined)?.[REGION_FILE.file];
  const parsed = typeof text === "string" ? parseFile(REGION_FILE.file, text) : undefined;
  const regions = parsed?.["regions"] as Record<string, { initiallyActive?: unknown }> | undefined;
  const role = parsed?.["role"];
  if (typeof regions !== "object" || regions === null || typeof role !== "string") return undefined;
  const entries = Object.entries(regions);
  if (entries.some(([, region]) => typeof region?.initiallyActive !== "boolean")) return undefined;
  return {
    active: entries
      .filter(([, region]) => region.initiallyActive === true)
      .map(([name]) => name)
      .sort(),
    role,
  };
}
