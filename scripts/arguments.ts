import { InvalidArgumentError } from "commander";
import { DEFAULT_REGIONS } from "../stacks/topology.ts";

/** The regions that there are. */
export const REGIONS: readonly string[] = Object.keys(DEFAULT_REGIONS);

/** `beijing,shanghai` → names, each known and named once.
 *  @throws InvalidArgumentError with what was found and what is allowed */
export function parseRegions(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!REGIONS.includes(name)) throw new InvalidArgumentError(`found "${name}"; regions are ${REGIONS.join(", ")}.`);
  }
  return [...new Set(names)];
}

/** `beijing=kind-a,shanghai=kind-b` → context by region.
 *  @throws InvalidArgumentError with what was found and what is allowed */
export function parseContexts(text: string): Record<string, string> {
  const contexts: Record<string, string> = {};
  for (const pair of text.split(",")) {
    const at = pair.indexOf("=");
    const [region, context] = at < 0 ? [pair.trim(), ""] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
    if (!REGIONS.includes(region) || context === "") {
      throw new InvalidArgumentError(`found "${pair}"; write region=context with a region of ${REGIONS.join(", ")}.`);
    }
    if (contexts[region] !== undefined) throw new InvalidArgumentError(`${region} is named twice.`);
    contexts[region] = context;
  }
  return contexts;
}
