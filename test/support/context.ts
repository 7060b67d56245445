import type { RegionContext } from "../../components/common/context.ts";
import { imageSettings } from "../../components/common/images.ts";
import { wanSettings } from "../../components/common/wan.ts";

/** A region's context as the program would make it from defaults, with what a test changes in it. */
export function regionContext(changes: Partial<RegionContext> = {}): RegionContext {
  return {
    region: "beijing",
    namespace: "iam",
    clusterDomain: "cluster.local",
    domain: "iam.example.com",
    storageClass: undefined,
    multiNode: true,
    standby: false,
    protect: true,
    wan: wanSettings.parse({}),
    images: imageSettings.parse({}),
    ...changes,
  };
}
