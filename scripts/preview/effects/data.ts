import { COMPONENTS } from "../../../components/common/names.ts";
import type { KubernetesObject } from "../../render/objects.ts";
import { componentOf } from "../objects.ts";

/** What of the platform's data is in the object, or lives and dies with it; undefined where there is none.
 *  `survives`: whether the data itself stays when the object goes. */
export function dataOf(object: KubernetesObject): { readonly what: string; readonly survives: boolean } | undefined {
  const spec = object["spec"] as
    | {
        volumeClaimTemplates?: readonly unknown[];
        persistentVolumeClaimRetentionPolicy?: { whenDeleted?: string };
        selector?: unknown;
        persistentVolumeReclaimPolicy?: string;
      }
    | undefined;
  switch (object.kind) {
    case "Namespace":
      return { what: "everything in the namespace, its volumes' claims included", survives: false };
    case "PersistentVolumeClaim":
      return { what: "the data on its volume", survives: false };
    case "PersistentVolume":
      return { what: "the data on the volume", survives: spec?.persistentVolumeReclaimPolicy === "Retain" };
    case "StatefulSet": {
      if ((spec?.volumeClaimTemplates ?? []).length === 0) return undefined;
      const survives = spec?.persistentVolumeClaimRetentionPolicy?.whenDeleted !== "Delete";
      return { what: "the data on its pods' volumes", survives };
    }
    case "Service":
      // Endpoints live and die with the Service of their name; Patroni keeps the cluster's state in them.
      return componentOf(object) === COMPONENTS.postgres && spec?.selector === undefined
        ? { what: "the database cluster's state, which Patroni keeps in the Endpoints of this name", survives: false }
        : undefined;
    case "CustomResourceDefinition":
      return { what: "every object of its kind", survives: false };
    default:
      return undefined;
  }
}
