import { COMPONENTS } from "../../../components/common/names.ts";
import type { KubernetesObject } from "../../render/objects.ts";
import type { ObjectChange } from "../diff.ts";
import { componentOf, titleOf } from "../objects.ts";
import { fieldsOf, pathText } from "../paths.ts";
import type { Effect, EffectKind } from "./effect.ts";

/** Kinds that keep pods running. */
const WORKLOADS = new Set(["Deployment", "StatefulSet", "DaemonSet"]);

export function isWorkload({ id }: ObjectChange): boolean {
  return WORKLOADS.has(id.kind);
}

/** Whether the change makes new pods in the place of those that run. */
export function makesNewPods(change: ObjectChange): boolean {
  return isWorkload(change) && templatePaths(change).length > 0 && !waitsForDeletion(change.after);
}

/** What new pods do to each component. */
const NEW_PODS: Readonly<Record<string, readonly [EffectKind, string]>> = {
  [COMPONENTS.postgres]: [
    "restarts-database",
    "members are replaced one at a time, from the last to the first; when it is the primary's turn another one takes over, and connections to it end",
  ],
  [COMPONENTS.redis]: [
    "restarts-redis",
    "nodes are replaced one at a time; a master hands over to its replica before it goes",
  ],
  [COMPONENTS.pooler]: [
    "cuts-connections",
    "a new pod is at work before an old one drains; clients that stay connected are cut when its time is over",
  ],
  [COMPONENTS.edge]: [
    "cuts-connections",
    "a new pod serves before an old one drains; requests under way finish, connections that last longer than the drain are cut",
  ],
  [COMPONENTS.api]: ["restarts", "API pods are replaced one at a time; the edge sends requests to the others"],
  [COMPONENTS.witness]: [
    "restarts",
    "this region's member of the witness is away while its pod starts anew; the other two have the majority meanwhile",
  ],
  [COMPONENTS.regionController]: [
    "restarts",
    "its one pod stops before the next starts; the lease holds if that is back within its time to live",
  ],
  [COMPONENTS.redisKeeper]: [
    "restarts",
    "its one pod stops before the next starts; Redis goes on by itself, nothing is placed meanwhile",
  ],
  [COMPONENTS.globalDns]: ["restarts", "name servers are replaced one after the other, where there are several"],
};

/** What the change of an object that makes pods does to its pods. */
export function podEffects(change: ObjectChange): Effect[] {
  if (!isWorkload(change) || change.action !== "changed") return [];
  return [...templateEffects(change), ...scaleEffects(change)];
}

function templateEffects(change: ObjectChange): Effect[] {
  const paths = templatePaths(change);
  if (paths.length === 0) return [];
  const object = titleOf(change.id);
  const what = `its pods' template changes (${some(paths)})`;
  if (waitsForDeletion(change.after)) {
    const reason = `${what}, and updateStrategy OnDelete leaves the pods as they are until somebody deletes them`;
    return [{ kind: "later", object, reason }];
  }
  const [kind, how] = NEW_PODS[componentOf(change.after!) ?? ""] ?? ["restarts", "its pods are replaced"];
  return [{ kind, object, reason: `${what}: ${how}${graceOf(change.before)}` }];
}

function scaleEffects(change: ObjectChange): Effect[] {
  const [before, after] = [replicasOf(change.before), replicasOf(change.after)];
  if (before === after) return [];
  const component = componentOf(change.after!);
  const stops: EffectKind =
    component === COMPONENTS.postgres ? "stops-database" : component === COMPONENTS.redis ? "stops-redis" : "scales";
  const figures = `replicas ${before} → ${after}`;
  const reason =
    after === 0
      ? `${figures}: none of its pods is left`
      : after < before
        ? `${figures}: the pods with the highest numbers go${change.id.kind === "StatefulSet" ? ", their volumes stay" : ""}`
        : `${figures}: pods are added`;
  const reset = after < before && component === COMPONENTS.redis;
  return [{ kind: after === 0 || reset ? stops : "scales", object: titleOf(change.id), reason }];
}

/** Where the pods' template changes. */
function templatePaths({ fields }: ObjectChange): string[] {
  return fields
    .filter(({ path }) => {
      const [root, part] = fieldsOf(path);
      return root === "spec" && part === "template";
    })
    .map(({ path }) => pathText(path).replace(/^spec\.template\./, ""));
}

type Spec = {
  replicas?: number;
  updateStrategy?: { type?: string };
  template?: { spec?: { terminationGracePeriodSeconds?: number } };
};
const specOf = (object: KubernetesObject | undefined) => object?.["spec"] as Spec | undefined;

function waitsForDeletion(object: KubernetesObject | undefined): boolean {
  return specOf(object)?.updateStrategy?.type === "OnDelete";
}

/** Kubernetes' own default is one. */
function replicasOf(object: KubernetesObject | undefined): number {
  return specOf(object)?.replicas ?? 1;
}

/** The pods that go have the time that their own template gives them. */
function graceOf(object: KubernetesObject | undefined): string {
  const seconds = specOf(object)?.template?.spec?.terminationGracePeriodSeconds;
  return seconds === undefined ? "" : `; a pod has ${seconds} s to end`;
}

/** Some of the paths, and how many there are. */
export function some(paths: readonly string[], most = 3): string {
  const shown = [...new Set(paths)];
  return shown.length <= most ? shown.join(", ") : `${shown.slice(0, most).join(", ")} and ${shown.length - most} more`;
}
