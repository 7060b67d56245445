import type { KubernetesObject } from "../render/objects.ts";
import { sameValue, type FieldChange, type Step } from "./diff.ts";
import { parseFile } from "./files.ts";
import { listSort } from "./lists.ts";

/** A path as people read it: `spec.template.spec.containers[postgres].image`, `data["region.json"].regions.beijing`. */
export function pathText(path: readonly Step[]): string {
  return path.reduce((text, step) => text + stepText(step, text === ""), "");
}

function stepText(step: Step, first: boolean): string {
  if ("field" in step) {
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(step.field)) return `[${JSON.stringify(step.field)}]`;
    return first ? step.field : `.${step.field}`;
  }
  if ("key" in step) return `[${step.key}]`;
  if ("index" in step) return `[${step.index}]`;
  if ("from" in step) return `[${step.from}${step.count > 1 ? `–${step.from + step.count - 1}` : ""}]`;
  return "member" in step ? "[]" : "";
}

/** The names of the fields on the path, keys of lists left out: `["spec", "template", "spec", "containers", "image"]`. */
export function fieldsOf(path: readonly Step[]): string[] {
  return path.flatMap((step) => ("field" in step ? [step.field] : []));
}

/** The file of a ConfigMap or Secret that the change is in. */
export function fileOf({ path }: FieldChange): string | undefined {
  const [root, file] = fieldsOf(path);
  return root === "data" || root === "stringData" || root === "binaryData" ? file : undefined;
}

/** Path inside the file, as field names and keys; empty where the whole text has changed. */
export function pathInFile({ path }: FieldChange): string[] {
  const at = path.findIndex((step) => "parsed" in step);
  return at < 0 ? [] : path.slice(at + 1).map((step) => ("field" in step ? step.field : stepText(step, true)));
}

/** The object with the changes made, in a copy: what `diffObject` says is all that there is to say.
 *  @throws Error where a change does not fit the object */
export function applyChanges(object: KubernetesObject, changes: readonly FieldChange[]): KubernetesObject {
  const copy = structuredClone(object);
  const members: Members = new Map();
  for (const change of changes) applyAt({ get: () => copy, set: () => {} }, change.path, { change, members }, "");
  return copy;
}

/** Members of sets that were found once: several changes inside of one name it by what it was. */
type Members = Map<unknown, unknown>;

interface Applied {
  readonly change: FieldChange;
  readonly members: Members;
}

interface Slot {
  readonly get: () => unknown;
  readonly set: (value: unknown) => void;
}

type Tree = Record<string, unknown>;

function applyAt(slot: Slot, path: readonly Step[], applied: Applied, name: string): void {
  const [step, ...rest] = path;
  const { change } = applied;
  if (!step)
    return slot.set(change.kind === "reordered" ? reordered(slot.get() as unknown[], change, name) : change.after);
  if ("field" in step) {
    const map = slot.get() as Tree;
    if (rest.length === 0 && change.kind === "removed") delete map[step.field];
    else applyAt(inside(map, step.field), rest, applied, step.field);
  } else if ("parsed" in step) {
    const value = parseFile(name, slot.get() as string)!;
    applyAt({ get: () => value, set: () => {} }, rest, applied, "");
    slot.set(JSON.stringify(value));
  } else {
    const list = (slot.get() ?? []) as unknown[];
    applyToList(list, step, rest, applied, name);
    slot.set(list);
  }
}

function applyToList(list: unknown[], step: Step, rest: readonly Step[], applied: Applied, name: string): void {
  const { change, members } = applied;
  if ("from" in step) {
    list.splice(step.from, step.count, ...((change.after ?? []) as unknown[]));
    return;
  }
  const at = placeOf(list, step, name, members);
  if (rest.length > 0 || change.kind === "changed") {
    if (at < 0) throw new Error(`${pathText(change.path)}: there is no such item`);
    applyAt(inside(list as unknown as Tree, String(at)), rest, applied, "");
  } else if (change.kind === "added") list.push(change.after);
  else list.splice(at, 1);
}

function placeOf(list: readonly unknown[], step: Step, name: string, members: Members): number {
  if ("index" in step) return step.index;
  if ("member" in step) {
    const at = members.has(step.member)
      ? list.indexOf(members.get(step.member))
      : list.findIndex((item) => sameValue(item, step.member));
    if (typeof step.member === "object") members.set(step.member, list[at]);
    return at;
  }
  return "key" in step ? list.findIndex((item) => keyIn(name, list, item) === step.key) : -1;
}

function keyIn(name: string, list: readonly unknown[], item: unknown): string | undefined {
  for (const inFile of [false, true]) {
    const sort = listSort(name, list, list, inFile);
    if (sort.by === "key") return sort.keyOf(item);
  }
  return undefined;
}

function reordered(list: readonly unknown[], { after }: FieldChange, name: string): unknown[] {
  const order = after as string[];
  return [...list].sort((a, b) => order.indexOf(keyIn(name, list, a)!) - order.indexOf(keyIn(name, list, b)!));
}

function inside(tree: Tree, field: string): Slot {
  return { get: () => tree[field], set: (value) => (tree[field] = value) };
}
