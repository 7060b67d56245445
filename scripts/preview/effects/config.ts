import { COMPONENTS } from "../../../components/common/names.ts";
import type { KubernetesObject } from "../../render/objects.ts";
import { compareLines } from "../lines.ts";
import type { FieldChange, ObjectChange } from "../diff.ts";
import { titleOf } from "../objects.ts";
import { fieldsOf, fileOf } from "../paths.ts";
import { POOLER_START_SETTINGS } from "./contexts.ts";
import type { Effect } from "./effect.ts";
import { some } from "./pods.ts";

/** How a program takes a file that has changed under it. `restart`: at the start of its pod only. */
type Taking = { readonly how: "reloads" | "restart" | "each-time"; readonly who: string };

/** ConfigMaps by name, and their files; `*` for all others of them. What each program does is in components/. */
const CONFIG_MAPS: Readonly<Record<string, Readonly<Record<string, Taking>>>> = {
  edge: { "*": { how: "reloads", who: "NGINX checks the new configuration and reloads; no request is dropped" } },
  "edge-sidecar": { "*": { how: "restart", who: "the edge's sidecar" } },
  "pgbouncer-config": {
    "pgbouncer.ini": { how: "reloads", who: "PgBouncer reloads; no client is disconnected" },
    "hba.conf": { how: "reloads", who: "PgBouncer reloads; no client is disconnected" },
    alive: { how: "each-time", who: "the liveness probe" },
    "reload-on-change": { how: "restart", who: "the pooler's containers" },
  },
  "pgbouncer-haproxy": { "*": { how: "restart", who: "HAProxy" } },
  "postgresql-scripts": {
    "birth.py": { how: "restart", who: "the init container of a database pod" },
    "start.py": { how: "restart", who: "a database pod" },
    "clone.py": { how: "each-time", who: "a member that is copied anew" },
    "reconciler.json": { how: "each-time", who: "the reconciler, in each of its rounds," },
    "*": { how: "reloads", who: "the reconciler starts itself anew; PostgreSQL is not touched" },
  },
  "redis-config": { "*": { how: "restart", who: "Redis" } },
  "redis-scripts": {
    "start.sh": { how: "restart", who: "a Redis pod" },
    "reload.sh": { how: "restart", who: "a Redis pod" },
    "*": { how: "each-time", who: "a probe or the end of a Redis pod" },
  },
  "global-dns": {
    Corefile: { how: "reloads", who: "CoreDNS reloads" },
    "sidecar.json": { how: "restart", who: "the name server's sidecar" },
  },
  "witness-config": { "*": { how: "restart", who: "the witness" } },
  "redis-keeper": { "*": { how: "restart", who: "the keeper" } },
  "region-controller": { "*": { how: "restart", who: "the region controller" } },
};

/** What a change of a Secret does, by the Secret's name; certificates end in `-tls`. */
const SECRETS: Readonly<Record<string, Taking>> = {
  "postgresql-credentials": {
    how: "reloads",
    who: "the primary's roles get the new passwords, then Patroni reloads on each member; clients with the old password cannot open new connections in between",
  },
  "pgbouncer-users": { how: "reloads", who: "PgBouncer reloads; no client is disconnected" },
  "redis-users": { how: "reloads", who: "Redis takes the new passwords beside the old ones" },
  "iam-api": { how: "each-time", who: "the API, for every new connection," },
  "region-controller-passwords": { how: "each-time", who: "the region controller, for every new connection," },
  "region-controller-shared": { how: "each-time", who: "the region controller, when it compares fingerprints," },
  "witness-users": { how: "each-time", who: "the witness, when it sets its users," },
  "global-dns": { how: "each-time", who: "the name server's sidecar" },
};
const CERTIFICATE: Taking = {
  how: "reloads",
  who: "the programs that show it take the new certificate; no connection ends",
};

/** What a change of a ConfigMap or Secret does to the programs that read it.
 *  @param rolledBy titles of objects that read it and get new pods in the same change */
export function configEffects(change: ObjectChange, rolledBy: readonly string[]): Effect[] {
  const object = titleOf(change.id);
  const files = new Map<string, FieldChange[]>();
  for (const field of change.fields) {
    const file = fileOf(field);
    if (file !== undefined) files.set(file, [...(files.get(file) ?? []), field]);
  }
  return [...files].flatMap(([file, fields]): Effect[] => {
    const taking = takingOf(change, file);
    if (!taking) {
      const reason = `${file}: who reads it is not known here; programs that read it at their start wait for that`;
      return [{ kind: "later", object, reason }];
    }
    const atStart = file === "pgbouncer.ini" ? startSettings(fields) : [];
    const late: Effect[] =
      atStart.length > 0 && rolledBy.length === 0
        ? [
            {
              kind: "later",
              object,
              reason: `${some(atStart)}: PgBouncer takes it at a start only, and goes on as before until its pods are replaced`,
            },
          ]
        : [];
    return [...late, takingEffect(object, file, taking, rolledBy)];
  });
}

function takingOf({ id, after }: ObjectChange, file: string): Taking | undefined {
  if (id.kind === "Secret") return SECRETS[id.name] ?? (isCertificate(after) ? CERTIFICATE : undefined);
  const files = CONFIG_MAPS[id.name];
  return files?.[file] ?? files?.["*"];
}

function takingEffect(object: string, file: string, { how, who }: Taking, rolledBy: readonly string[]): Effect {
  if (how === "reloads") return { kind: "reloads", object, reason: `${file}: ${who}` };
  if (how === "each-time")
    return { kind: "nothing", object, reason: `${file}: ${who} reads it anew; nothing restarts` };
  return rolledBy.length > 0
    ? {
        kind: "nothing",
        object,
        reason: `${file}: ${who} reads it at the start of its pod, and ${rolledBy.join(", ")} makes new ones`,
      }
    : {
        kind: "later",
        object,
        reason: `${file}: ${who} reads it at the start of its pod, and no pod is replaced by this change`,
      };
}

function isCertificate(object: KubernetesObject | undefined): boolean {
  return object?.["type"] === "kubernetes.io/tls" || /-tls$/.test(object?.metadata.name ?? "");
}

/** Settings of PgBouncer that changed and that a reload does not take. */
function startSettings(fields: readonly FieldChange[]): string[] {
  return fields.flatMap(({ before, after }) =>
    typeof before !== "string" && typeof after !== "string"
      ? []
      : compareLines(typeof before === "string" ? before : "", typeof after === "string" ? after : "")
          .filter(({ sign }) => sign !== " ")
          .map(({ text }) => text.split("=")[0]!.trim())
          .filter((name) => POOLER_START_SETTINGS.has(name)),
  );
}

/** Whether the pods of the object read the ConfigMap or Secret. */
export function reads(workload: KubernetesObject, { kind, name }: { kind: string; name: string }): boolean {
  const template = (workload["spec"] as { template?: unknown } | undefined)?.template;
  return mentions(
    template,
    kind === "Secret"
      ? ["secretName", "secret", "secretRef", "secretKeyRef"]
      : ["configMap", "configMapRef", "configMapKeyRef"],
    name,
  );
}

function mentions(value: unknown, fields: readonly string[], name: string): boolean {
  if (Array.isArray(value)) return value.some((item) => mentions(item, fields, name));
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(
    ([field, item]) =>
      (fields.includes(field) && (item === name || (item as { name?: unknown } | null)?.name === name)) ||
      mentions(item, fields, name),
  );
}

/** Whether only names and notes of the object change: labels and annotations. */
export function onlyMetadata(change: ObjectChange): boolean {
  return change.fields.every(({ path }) => fieldsOf(path)[0] === "metadata");
}

/** Component whose ConfigMap tells who is active. */
export const REGION_FILE = { component: COMPONENTS.regionController, file: "region.json" } as const;
