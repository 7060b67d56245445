import { printBound, printSeconds, secondsOf, type Bound } from "../../arithmetic/bound.ts";
import { OBJECTIVES, type FunctionName, type Objective } from "../../arithmetic/functions.ts";

/** Bounds that exceed an objective of their functions, in words, with the sum term by term. */
export function overruns(
  faults: readonly (Bound & { readonly fault: string; readonly functions: readonly FunctionName[] })[],
  limits: Readonly<Record<Objective["key"], number>>,
): string[] {
  return OBJECTIVES.flatMap(({ name, functions, key }) =>
    faults.flatMap((bound) => {
      const hit = functions.filter((one) => bound.functions.includes(one));
      const seconds = secondsOf(bound);
      if (hit.length === 0 || seconds <= limits[key]) return [];
      return [
        `${name} (${hit.join(", ")}), ${bound.fault}: found ${printSeconds(seconds)}; at most ${printSeconds(limits[key])} is allowed. ${printBound(bound)}`,
      ];
    }),
  );
}
