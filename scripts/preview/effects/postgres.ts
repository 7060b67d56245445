import type { KubernetesObject } from "../../render/objects.ts";
import type { FieldChange, ObjectChange } from "../diff.ts";
import { parseFile } from "../files.ts";
import { titleOf } from "../objects.ts";
import { fileOf, pathInFile } from "../paths.ts";
import { parameterTakes } from "./contexts.ts";
import type { Effect } from "./effect.ts";

/** Files that Patroni, the reconciler and scripts of a database pod read, see components/postgres. */
const FILES = { local: "10-patroni.yml", dynamic: "20-dynamic.yml", reconciler: "reconciler.json" } as const;

/** What only the birth of a cluster reads. */
const AT_BIRTH = new Set(["initdb", "post_bootstrap", "users"]);

/** What a change of Patroni's files does. Nobody replaces a pod for it: the reconciler reloads, or patches the cluster's
 *  dynamic configuration, and restarts members where parameters need that.
 *  @param scripts the ConfigMap with the reconciler's settings, as it would be: whether it restarts by itself */
export function patroniEffects(change: ObjectChange, scripts: KubernetesObject | undefined): Effect[] {
  return change.fields.flatMap((field) => {
    const file = fileOf(field);
    if (file === FILES.dynamic) return dynamicEffect(change, field, restartsBySelf(scripts));
    if (file === FILES.local) return localEffect(change, field, restartsBySelf(scripts));
    return [];
  });
}

function dynamicEffect(change: ObjectChange, field: FieldChange, rolling: boolean | undefined): Effect[] {
  const object = titleOf(change.id);
  const [, , ...path] = pathInFile(field);
  if (path.length === 0) {
    const reason = `${FILES.dynamic} has changed as a whole and cannot be read field by field: it may restart the database`;
    return [{ kind: "pending-restart", object, reason }];
  }
  if (path[0] === "slots") {
    const slot = path[1] === undefined ? "all" : path[1];
    return field.kind === "removed"
      ? [
          {
            kind: "drops-slot",
            object,
            reason: `slot ${slot} is no longer kept: who reads from it loses its place, and is copied anew when WAL is gone`,
          },
        ]
      : [{ kind: "reloads", object, reason: `slot ${slot}: Patroni makes it on the leader` }];
  }
  if (path[0] === "postgresql" && path[1] === "parameters")
    return parameterEffects(change, field, path.slice(2), rolling);
  return [{ kind: "reloads", object, reason: `${joined(path)}: Patroni takes it within one round, nothing restarts` }];
}

function localEffect(change: ObjectChange, field: FieldChange, rolling: boolean | undefined): Effect[] {
  const object = titleOf(change.id);
  const path = pathInFile(field);
  if (path[0] === "bootstrap" && (path[1] === undefined || AT_BIRTH.has(path[1]))) {
    const reason = `${joined(path)} is read at the birth of a cluster only; a database that is there stays as it is`;
    return [{ kind: "nothing", object, reason }];
  }
  if (path[0] === "postgresql" && path[1] === "parameters")
    return parameterEffects(change, field, path.slice(2), rolling);
  if (path[0] === "postgresql" && path[1] === "data_dir") {
    const reason = "postgresql.data_dir: at the next start of a pod PostgreSQL looks for its data in another place";
    return [{ kind: "pending-restart", object, reason }];
  }
  const what = path.length > 0 ? joined(path) : FILES.local;
  return [
    { kind: "reloads", object, reason: `${what}: Patroni reloads, and PostgreSQL with it; nobody is disconnected` },
  ];
}

function parameterEffects(
  change: ObjectChange,
  field: FieldChange,
  [name]: readonly string[],
  rolling: boolean | undefined,
): Effect[] {
  // A whole set of parameters that comes or goes: each by its name.
  const names = name === undefined ? Object.keys(field.after ?? field.before ?? {}) : [unquoted(name)];
  return names.map((parameter) => {
    const takes = parameterTakes(parameter);
    const object = titleOf(change.id);
    if (takes === "reload") return { kind: "reloads", object, reason: `${parameter}: PostgreSQL takes it by a reload` };
    const needs =
      takes === "restart"
        ? `${parameter} takes effect at a start of PostgreSQL only`
        : `${parameter} is an extension's, and may take effect at a start of PostgreSQL only`;
    if (rolling === true)
      return {
        kind: "restarts-database",
        object,
        reason: `${needs}: the reconciler restarts the replicas one at a time and the primary last, whose connections end`,
      };
    const who =
      rolling === false
        ? "`patronictl restart` is left to a person (reconciler.restarts)"
        : "who restarts is not known";
    return { kind: "pending-restart", object, reason: `${needs}: it waits, and ${who}` };
  });
}

function joined(path: readonly string[]): string {
  return path.join(".").replaceAll(".[", "[");
}

/** `["pg_stat_statements.max"]` as a path writes it. */
function unquoted(name: string): string {
  return name.startsWith("[") ? (JSON.parse(name.slice(1, -1)) as string) : name;
}

/** Whether the reconciler restarts members by itself; undefined when its settings cannot be read. */
function restartsBySelf(scripts: KubernetesObject | undefined): boolean | undefined {
  const text = (scripts?.["data"] as Record<string, unknown> | undefined)?.[FILES.reconciler];
  const settings = typeof text === "string" ? parseFile(FILES.reconciler, text) : undefined;
  return typeof settings?.["rolling_restarts"] === "boolean" ? settings["rolling_restarts"] : undefined;
}
