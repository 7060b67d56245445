import { hasVolumes } from "../../facts/data.ts";
import { isObject } from "../../facts/stack.ts";
import { resourceRule } from "../../rule.ts";

const POLICY = "spec.persistentVolumeClaimRetentionPolicy";

export const volumesRetained = resourceRule({
  name: "volumes-retained",
  description:
    "Volumes outlive the set of pods that they belong to and a smaller number of its pods, and what has volumes is not deleted to be replaced.",
  severity: "critical",
  why: "A set that is deleted by mistake is made anew in a minute, and finds its volumes; without them a region has to be copied whole, and the last one is lost.",
  remediation: `Set ${POLICY} to { whenDeleted: Retain, whenScaled: Retain }, said and not left to the API's default, and leave out deleteBeforeReplace.`,
  check({ resource, report }) {
    if (!hasVolumes(resource) && !isObject(resource, "Namespace", "PersistentVolumeClaim", "PersistentVolume")) return;
    if (resource.opts.deleteBeforeReplace === true)
      report("options deleteBeforeReplace: found true; it must not be set on what holds data");
    if (!isObject(resource, "StatefulSet")) return;
    const policy = (resource.props["spec"]?.persistentVolumeClaimRetentionPolicy ?? {}) as Record<string, string>;
    for (const key of ["whenDeleted", "whenScaled"])
      if (policy[key] !== "Retain") report(`${POLICY}.${key}: found ${policy[key] ?? "nothing"}; it must be Retain`);
  },
});
