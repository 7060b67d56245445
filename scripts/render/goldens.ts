import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { overlaysForShow } from "../local/values/show.ts";
import { maskedObjects, toYaml } from "./objects.ts";
import { renderStack } from "./render.ts";

export interface Golden {
  readonly region: string;
  readonly embedded: boolean;
}

/** Each region as it is in production, and one as the embedded default makes it. */
export const GOLDENS: readonly Golden[] = [
  ...Object.keys(DEFAULT_REGIONS).map((region) => ({ region, embedded: false })),
  { region: "beijing", embedded: true },
];

export function goldenFile(golden: Golden): string {
  return `test/stacks/goldens/${golden.region}${golden.embedded ? ".embedded" : ""}.yaml`;
}

/** What the program renders for a golden, secrets masked. */
export async function goldenText(golden: Golden): Promise<string> {
  const { resources } = await renderStack(golden.region, {
    overlays: overlaysForShow(golden.region, golden),
    compute: (type) => (type.startsWith("random:") ? { result: "golden" } : undefined),
  });
  return toYaml(maskedObjects(resources));
}
