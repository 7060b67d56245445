import { COMPONENTS } from "../../../components/common/names.ts";
import type { KubernetesObject } from "../../render/objects.ts";
import type { ObjectChange } from "../diff.ts";
import { componentOf, titleOf } from "../objects.ts";
import { fieldsOf, pathText } from "../paths.ts";
import { configEffects, onlyMetadata, reads } from "./config.ts";
import { dataOf } from "./data.ts";
import { byGravity, type Effect, type EffectKind } from "./effect.ts";
import { immutablePaths } from "./immutable.ts";
import { isWorkload, makesNewPods, podEffects, some } from "./pods.ts";
import { patroniEffects } from "./postgres.ts";
import { activityEffects } from "./region.ts";

export { EFFECTS, GRAVE, byGravity, type Effect, type EffectKind } from "./effect.ts";

/** ConfigMaps of the database, see components/postgres. */
const PATRONI_MAP = "postgresql-patroni";
const SCRIPTS_MAP = "postgresql-scripts";
const ACCESS = new Set(["NetworkPolicy", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"]);

/** What the changes do to what runs, the gravest first; each change has at least one effect.
 *  @param after all objects as they would be: a change is judged with what else is there */
export function effectsOf(changes: readonly ObjectChange[], after: readonly KubernetesObject[]): Effect[] {
  // In a namespace that is made now nothing runs yet.
  const fresh = changes.some(({ id, action }) => id.kind === "Namespace" && action === "created");
  const scripts = after.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === SCRIPTS_MAP);
  return byGravity(
    changes.flatMap((change) => {
      const effects = [
        ...goneEffects(change),
        ...immutableEffects(change),
        ...podEffects(change),
        ...activityEffects(change),
        ...contentEffects(change, changes, scripts),
        ...(fresh && change.action === "created" ? [] : otherEffects(change)),
      ];
      return effects.length > 0 ? effects : [restEffect(change)];
    }),
  );
}

function goneEffects(change: ObjectChange): Effect[] {
  const { before, action, id } = change;
  if (action !== "deleted" || !before) return [];
  const object = titleOf(id);
  const data = dataOf(before);
  const stops = stopKind(before);
  return [
    ...(data && !data.survives
      ? [{ kind: "deletes-data" as const, object, reason: `it is deleted, and with it ${data.what}` }]
      : []),
    ...(isWorkload(change)
      ? [
          {
            kind: stops,
            object,
            reason: `it is deleted: all its pods end${data?.survives ? `; ${data.what} stays` : ""}`,
          },
        ]
      : []),
    ...(id.kind === "Service"
      ? [{ kind: "cuts-connections" as const, object, reason: "it is deleted: its name and address lead nowhere" }]
      : []),
  ];
}

function immutableEffects(change: ObjectChange): Effect[] {
  const paths = immutablePaths(change);
  if (paths.length === 0 || !change.before) return [];
  const object = titleOf(change.id);
  const data = dataOf(change.before);
  const kept = data?.survives ? `; ${data.what} stays` : "";
  const why = `${some(paths)} cannot be changed in an object that is there: \`pulumi up\` deletes it and makes it anew, \`kubectl apply\` is refused`;
  return [
    { kind: "replaces-object", object, reason: `${why}${kept}` },
    ...(data && !data.survives
      ? [{ kind: "deletes-data" as const, object, reason: `it is replaced, and ${data.what} goes with it` }]
      : []),
    ...(isWorkload(change)
      ? [
          {
            kind: stopKind(change.before),
            object,
            reason: "it is replaced: all its pods end at once before new ones start",
          },
        ]
      : []),
    ...(change.id.kind === "Service"
      ? [
          {
            kind: "cuts-connections" as const,
            object,
            reason: "it is replaced: its name leads nowhere until the new one is there",
          },
        ]
      : []),
  ];
}

/** All pods of a component end at once. */
function stopKind(object: KubernetesObject): EffectKind {
  const component = componentOf(object);
  if (component === COMPONENTS.postgres) return "stops-database";
  if (component === COMPONENTS.redis) return "stops-redis";
  return component === COMPONENTS.pooler || component === COMPONENTS.edge || component === COMPONENTS.api
    ? "cuts-connections"
    : "restarts";
}

function contentEffects(
  change: ObjectChange,
  changes: readonly ObjectChange[],
  scripts: KubernetesObject | undefined,
): Effect[] {
  const { id, action } = change;
  if (action !== "changed" || (id.kind !== "ConfigMap" && id.kind !== "Secret")) return [];
  if (id.kind === "ConfigMap" && id.name === PATRONI_MAP) return patroniEffects(change, scripts);
  const rolledBy = changes
    .filter((other) => makesNewPods(other) && other.after && reads(other.after, id))
    .map((other) => titleOf(other.id));
  return configEffects(change, rolledBy);
}

function otherEffects(change: ObjectChange): Effect[] {
  const { id, action } = change;
  const object = titleOf(id);
  const paths = change.fields.map(({ path }) => pathText(path));
  if (ACCESS.has(id.kind) && !(action === "changed" && onlyMetadata(change))) {
    const what = action === "changed" ? some(paths) : `it is ${action}`;
    return [
      { kind: "access", object, reason: `${what}: in effect at once, for connections and calls of running pods too` },
    ];
  }
  if (id.kind === "Service" && action === "changed") {
    const spec = change.fields.filter(({ path }) => fieldsOf(path)[0] === "spec").map(({ path }) => pathText(path));
    const kept = new Set(immutablePaths(change));
    const rest = spec.filter((path) => !kept.has(path));
    if (rest.length > 0)
      return [
        {
          kind: "cuts-connections",
          object,
          reason: `${some(rest)}: new connections are led by the new rule, and open ones may be cut`,
        },
      ];
  }
  return [];
}

/** Whatever has no other effect. */
function restEffect(change: ObjectChange): Effect {
  const object = titleOf(change.id);
  if (change.action === "created")
    return { kind: "nothing", object, reason: "it is made; nothing that runs is touched" };
  if (change.action === "deleted")
    return { kind: "later", object, reason: "it is deleted; pods that need it fail at their next start" };
  const paths = some(change.fields.map(({ path }) => pathText(path)));
  return onlyMetadata(change)
    ? { kind: "nothing", object, reason: `${paths}: labels and annotations of the object alone` }
    : { kind: "nothing", object, reason: `${paths}: no pod and no connection is touched` };
}
