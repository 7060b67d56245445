import type { KubernetesObject } from "../render/objects.ts";
import { diffObject } from "./diff.ts";
import { immutableChanges } from "./effects/immutable.ts";
import { Refused, type Cluster } from "./cluster.ts";
import { listSort } from "./lists.ts";
import { desired, idOf, keyOf, titleOf } from "./objects.ts";
import type { Comparison, Refusal } from "./preview.ts";
import { secretsIn, type KnownSecrets } from "./secrets.ts";

/** Where what is applied is recorded, see applyObjects. */
export interface AppliedSet {
  readonly namespace: string;
  readonly set: string;
}

/** Stands for a value that is made once and kept where this program cannot see it. Its place keeps what the cluster has. */
export const MADE_ELSEWHERE = "(made once, and kept by the engine)";

const SET_ID = "applyset.kubernetes.io/id";
const SET_MEMBER = "applyset.kubernetes.io/part-of";
const SET_KINDS = "applyset.kubernetes.io/contains-group-kinds";
const PULUMI_MANAGER = /^pulumi-kubernetes/;

/** What applying the rendered objects would change in a cluster. As it would be is what the API server itself says, by a
 *  dry run of the very apply: defaults it fills in make no difference.
 *  @param rendered objects with secrets in plain; those go to the cluster alone
 *  @throws Error when the cluster cannot be asked */
export async function againstCluster(
  cluster: Cluster,
  rendered: readonly KubernetesObject[],
  options: {
    readonly against: string;
    readonly region: string;
    readonly secrets: KnownSecrets;
    readonly record: AppliedSet;
  },
): Promise<Comparison> {
  const { against, region, secrets, record } = options;
  const current = await cluster.current(rendered);
  secretsIn(current, secrets);
  const live = new Map(current.map((object) => [keyOf(object), object]));
  const wanted = rendered.map((object) => fillFromLive(object, live.get(keyOf(object))));
  const notes: string[] = [];

  // The API server checks no object of a namespace that is not there.
  const namespaces = wanted.filter(({ kind }) => kind === "Namespace");
  const missing = namespaces.filter((object) => !live.has(keyOf(object))).map(({ metadata }) => metadata.name);
  const checkable = wanted.filter(({ metadata }) => !missing.includes(metadata.namespace ?? ""));
  if (missing.length > 0)
    notes.push(`namespace ${missing.join(", ")} is not there yet: the API server could not check what goes into it`);

  const { results, refused } = await applyEach(cluster, checkable);
  const after: KubernetesObject[] = [];
  const refusals: Refusal[] = [];
  for (const object of wanted) {
    const [now, result, message] = [live.get(keyOf(object)), results.get(keyOf(object)), refused.get(keyOf(object))];
    if (message === undefined) after.push(now && result ? result : object);
    else {
      const laid = now ? (overlay(now, object, "") as KubernetesObject) : object;
      after.push(laid);
      // A change that needs a replacement is told as one; the refusal says no more.
      if (!now || !isReplacement(now, laid)) refusals.push({ object: titleOf(idOf(object)), message });
    }
  }
  const { gone, byEngine } = await goneObjects(cluster, current, wanted, region, record);
  if (byEngine)
    notes.push(
      "Pulumi's engine has applied what is there: fields that the program no longer sets are seen by `pulumi preview` alone",
    );
  return { against, before: [...current, ...gone], after, secrets: secretsIn(gone, secrets), refused: refusals, notes };
}

/** A Secret's value that is made elsewhere is taken from the cluster: to this program it is the same. */
function fillFromLive(object: KubernetesObject, live: KubernetesObject | undefined): KubernetesObject {
  const data = object.kind === "Secret" ? (object["stringData"] as Record<string, string> | undefined) : undefined;
  if (!data || !Object.values(data).some((value) => value.includes(MADE_ELSEWHERE))) return object;
  const held = (live?.["data"] ?? {}) as Record<string, string>;
  const filled = Object.entries(data).map(([key, value]) => [
    key,
    value.includes(MADE_ELSEWHERE) && held[key] !== undefined
      ? Buffer.from(held[key], "base64").toString("utf8")
      : value,
  ]);
  return { ...object, stringData: Object.fromEntries(filled) as Record<string, string> };
}

/** A dry run of all objects at once; where one is refused, of halves, until it is known which. */
async function applyEach(cluster: Cluster, objects: readonly KubernetesObject[]) {
  const results = new Map<string, KubernetesObject>();
  const refused = new Map<string, string>();
  const attempt = async (some: readonly KubernetesObject[]): Promise<void> => {
    try {
      const given = await cluster.applied(some);
      if (given.length !== some.length)
        throw new Error(`the dry run of ${some.length} objects answered with ${given.length}`);
      for (const object of given) results.set(keyOf(object), object);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (some.length === 1) refused.set(keyOf(some[0]!), error.message);
      else {
        await attempt(some.slice(0, some.length / 2));
        await attempt(some.slice(some.length / 2));
      }
    }
  };
  await attempt(objects);
  return { results, refused };
}

function isReplacement(before: KubernetesObject, after: KubernetesObject): boolean {
  const fields = diffObject(desired(before), desired(after));
  return immutableChanges({ id: idOf(after), action: "changed", fields, before, after }).length > 0;
}

/** What is there with what is wanted laid over it: how an object would be that the API server refuses to change. Fields
 *  that are no longer wanted stay. */
export function overlay(now: unknown, wanted: unknown, name: string): unknown {
  if (Array.isArray(now) && Array.isArray(wanted)) {
    const sort = listSort(name, now, wanted, false);
    if (sort.by !== "key") return wanted;
    return wanted.map((item: unknown) =>
      overlay(
        now.find((other: unknown) => sort.keyOf(other) === sort.keyOf(item)),
        item,
        "",
      ),
    );
  }
  if (!isMap(now) || !isMap(wanted)) return wanted;
  const merged: Record<string, unknown> = { ...now };
  for (const [key, value] of Object.entries(wanted)) merged[key] = overlay(now[key], value, key);
  return merged;
}

/** Objects that the next apply would delete: those of an earlier one that are no longer rendered. */
async function goneObjects(
  cluster: Cluster,
  current: readonly KubernetesObject[],
  wanted: readonly KubernetesObject[],
  region: string,
  { namespace, set }: AppliedSet,
): Promise<{ gone: KubernetesObject[]; byEngine: boolean }> {
  const kept = new Set(wanted.map(keyOf));
  const left = (objects: readonly KubernetesObject[]) => objects.filter((object) => !kept.has(keyOf(object)));
  const parent = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: set, namespace } };
  const [record] = await cluster.current([parent]);
  const id = record?.metadata.labels?.[SET_ID];
  if (record && id !== undefined) {
    const kinds = (record.metadata.annotations?.[SET_KINDS] ?? "").split(",").filter(Boolean);
    return { gone: left(await cluster.labelled(kinds, namespace, `${SET_MEMBER}=${id}`)), byEngine: false };
  }
  if (!current.some(isOfEngine)) return { gone: [], byEngine: false };
  // The engine keeps its record in its own state; its objects carry the program's labels.
  const kinds = [...new Set(wanted.map((object) => [object.kind, idOf(object).group].filter(Boolean).join(".")))];
  const ours = `app.kubernetes.io/part-of=iam-ha,app.kubernetes.io/instance=${region}`;
  const labelled = await cluster.labelled(kinds, namespace, ours);
  return { gone: left(labelled.filter(isOfEngine)), byEngine: true };
}

function isOfEngine({ metadata }: KubernetesObject): boolean {
  const managers = (metadata as { managedFields?: readonly { manager?: string }[] }).managedFields ?? [];
  return managers.some(({ manager = "" }) => PULUMI_MANAGER.test(manager));
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
