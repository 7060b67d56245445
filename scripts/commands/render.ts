import { overlaysForShow } from "../local/values/show.ts";
import { maskedObjects, toYaml } from "../render/objects.ts";
import { renderStack } from "../render/render.ts";

/** Prints a region's objects. Secrets are masked: what is printed may be pasted anywhere. */
export async function render(region: string, options: { embedded: boolean }): Promise<void> {
  const { resources } = await renderStack(region, {
    overlays: overlaysForShow(region, options),
    compute: (type) => (type.startsWith("random:") ? { result: "(made at random)" } : undefined),
  });
  process.stdout.write(toYaml(maskedObjects(resources)));
}
