import { isDeepStrictEqual } from "node:util";
import type { KubernetesObject } from "../render/objects.ts";
import { isStructured, parseFile } from "./files.ts";
import { listSort } from "./lists.ts";
import { desired, idOf, keyOf, type ObjectId } from "./objects.ts";
import { KnownSecrets, seal, Sealed, secretsIn } from "./secrets.ts";

/** One step of a path in an object: a field; an item of a list by its natural key, as a member of a set, or by its place;
 *  a stretch of a list; what a file of a ConfigMap says. */
export type Step =
  | { readonly field: string }
  | { readonly key: string }
  | { readonly member: unknown }
  | { readonly index: number }
  | { readonly from: number; readonly count: number }
  | { readonly parsed: true };

export interface FieldChange {
  readonly path: readonly Step[];
  /** `reordered`: the same items in another order, where order has a meaning. */
  readonly kind: "added" | "removed" | "changed" | "reordered";
  readonly before?: unknown;
  readonly after?: unknown;
  /** Whether the value is a secret: that it changed is all that may be told. */
  readonly secret: boolean;
}

export interface ObjectChange {
  readonly id: ObjectId;
  readonly action: "created" | "changed" | "deleted";
  /** Field by field; empty for objects that are created or deleted. */
  readonly fields: readonly FieldChange[];
  /** As it is, secrets sealed; undefined for one that is created. */
  readonly before?: KubernetesObject;
  /** As it would be, secrets sealed; undefined for one that is deleted. */
  readonly after?: KubernetesObject;
}

/** What changes from one set of objects to another, in the order of kind and name. What the API server and tools write
 *  on objects is left out. Secrets, those in `secrets` and the content of Secrets, are compared but never part of what
 *  can be printed. */
export function diffObjects(
  before: readonly KubernetesObject[],
  after: readonly KubernetesObject[],
  secrets: KnownSecrets = new KnownSecrets(),
): ObjectChange[] {
  secretsIn([...before, ...after], secrets);
  const index = (objects: readonly KubernetesObject[]) =>
    new Map(objects.map((object) => [keyOf(object), seal(desired(object), secrets)]));
  const [old, now] = [index(before), index(after)];
  const changes: ObjectChange[] = [];
  for (const key of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const [a, b] = [old.get(key), now.get(key)];
    if (a && b) {
      const fields = diffObject(a, b);
      if (fields.length > 0) changes.push({ id: idOf(b), action: "changed", fields, before: a, after: b });
    } else if (b) changes.push({ id: idOf(b), action: "created", fields: [], after: b });
    else if (a) changes.push({ id: idOf(a), action: "deleted", fields: [], before: a });
  }
  return changes;
}

/** What changes in one object, field by field. */
export function diffObject(before: KubernetesObject, after: KubernetesObject): FieldChange[] {
  return diffValue(before, after, { path: [], name: "", inFile: false, inPod: false, kind: after.kind });
}

/** Whether two values are the same, secrets included. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a instanceof Sealed || b instanceof Sealed) return a instanceof Sealed && a.same(b);
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  if (isMap(a) && isMap(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && sameValue(a[key], b[key]));
  }
  return isDeepStrictEqual(a, b);
}

interface Where {
  readonly path: readonly Step[];
  /** Name of the field that the value is in. */
  readonly name: string;
  /** Whether this is what a file says, and not a part of the object itself. */
  readonly inFile: boolean;
  /** Whether this is in a pod's template, where another order of the same items makes new pods. */
  readonly inPod: boolean;
  readonly kind: string;
}

function diffValue(before: unknown, after: unknown, where: Where): FieldChange[] {
  if (sameValue(before, after)) return [];
  if (!where.inFile && isEmpty(before) && isEmpty(after)) return [];
  if (isMap(before) && isMap(after)) return diffMap(before, after, where);
  if (Array.isArray(before) && Array.isArray(after)) return diffList(before, after, where);
  if (typeof before === "string" && typeof after === "string" && isFile(where)) {
    const [a, b] = [parseFile(where.name, before), parseFile(where.name, after)];
    if (a && b) {
      const inside = diffMap(a, b, { ...where, path: [...where.path, { parsed: true }], inFile: true });
      // The same in other words: the text is what then changed.
      if (inside.length > 0) return inside;
    }
  }
  return [change(where.path, "changed", before, after)];
}

function diffMap(before: Tree, after: Tree, where: Where): FieldChange[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((field) => {
    const path = [...where.path, { field }];
    const inPod = where.inPod || (!where.inFile && field === "template" && where.path.length > 0);
    if (field in before && field in after)
      return diffValue(before[field], after[field], { ...where, path, name: field, inPod });
    // To the API server, null and an empty list say the same as nothing.
    if (!where.inFile && isEmpty(before[field] ?? after[field])) return [];
    return [change(path, field in after ? "added" : "removed", before[field], after[field])];
  });
}

function diffList(before: readonly unknown[], after: readonly unknown[], where: Where): FieldChange[] {
  const sort = listSort(where.name, before, after, where.inFile);
  if (sort.by === "key") return diffKeyed(before, after, sort.keyOf as (item: unknown) => string, where);
  if (sort.by === "member" && !where.inPod) return diffSet(before, after, where);
  return diffPlaces(before, after, where);
}

function diffKeyed(
  before: readonly unknown[],
  after: readonly unknown[],
  keyOf: (item: unknown) => string,
  where: Where,
): FieldChange[] {
  const [old, now] = [before, after].map((items) => new Map(items.map((item) => [keyOf(item), item])));
  const changes = [...new Set([...old!.keys(), ...now!.keys()])].flatMap((key) => {
    const path = [...where.path, { key }];
    if (old!.has(key) && now!.has(key)) return diffValue(old!.get(key), now!.get(key), { ...where, path, name: "" });
    return [change(path, now!.has(key) ? "added" : "removed", old!.get(key), now!.get(key))];
  });
  if (where.inPod || where.inFile) {
    const kept = [...old!.keys()].filter((key) => now!.has(key));
    const order = [...now!.keys()].filter((key) => old!.has(key));
    // What applying the items alone would give: those that stay in their order, then the new ones.
    const applied = [...kept, ...[...now!.keys()].filter((key) => !old!.has(key))];
    if (!sameValue(kept, order) || !sameValue(applied, [...now!.keys()]))
      changes.push(change(where.path, "reordered", [...old!.keys()], [...now!.keys()]));
  }
  return changes;
}

function diffSet(before: readonly unknown[], after: readonly unknown[], where: Where): FieldChange[] {
  const added = [...after];
  const removed = before.filter((item) => {
    const at = added.findIndex((other) => diffValue(item, other, { ...where, path: [], name: "" }).length === 0);
    if (at >= 0) added.splice(at, 1);
    return at < 0;
  });
  const [one, other] = [removed[0], added[0]];
  if (removed.length === 1 && added.length === 1 && isMap(one) && isMap(other))
    return diffMap(one, other, { ...where, path: [...where.path, { member: one }], name: "" });
  return [
    ...removed.map((item) => change([...where.path, { member: item }], "removed", item, undefined)),
    ...added.map((item) => change([...where.path, { member: item }], "added", undefined, item)),
  ];
}

function diffPlaces(before: readonly unknown[], after: readonly unknown[], where: Where): FieldChange[] {
  if (before.length === after.length)
    return before.flatMap((item, index) =>
      diffValue(item, after[index], { ...where, path: [...where.path, { index }], name: "" }),
    );
  let from = 0;
  while (from < before.length && from < after.length && sameValue(before[from], after[from])) from++;
  let end = 0;
  const left = Math.min(before.length, after.length) - from;
  while (end < left && sameValue(before[before.length - 1 - end], after[after.length - 1 - end])) end++;
  const count = before.length - end - from;
  const [gone, come] = [before.slice(from, from + count), after.slice(from, after.length - end)];
  return [
    change(
      [...where.path, { from, count }],
      gone.length === 0 ? "added" : come.length === 0 ? "removed" : "changed",
      gone,
      come,
    ),
  ];
}

function change(path: readonly Step[], kind: FieldChange["kind"], before: unknown, after: unknown): FieldChange {
  const secret = before instanceof Sealed || after instanceof Sealed;
  // Beside a secret, what stands there in plain may well be the secret of before.
  const shown = (value: unknown) => (secret && value !== undefined ? new Sealed(value) : value);
  return {
    path,
    kind,
    secret,
    ...(before === undefined ? {} : { before: shown(before) }),
    ...(after === undefined ? {} : { after: shown(after) }),
  };
}

/** A file of a ConfigMap that says something in a form we can read. */
function isFile({ path, kind, name, inFile }: Where): boolean {
  const [first] = path;
  return (
    !inFile &&
    kind === "ConfigMap" &&
    path.length === 2 &&
    !!first &&
    "field" in first &&
    first.field === "data" &&
    isStructured(name)
  );
}

type Tree = Record<string, unknown>;

function isMap(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Sealed);
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || (Array.isArray(value) && value.length === 0);
}
