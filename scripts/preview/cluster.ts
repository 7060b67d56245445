import { kubectl, type ClusterAccess, type KubectlOptions } from "../kubernetes.ts";
import { OURS } from "../render/apply.ts";
import type { KubernetesObject } from "../render/objects.ts";

const TIMEOUT_MS = 120_000;
/** With the managers of fields: by them it shows who has applied an object. */
const GET = ["get", "--ignore-not-found", "--show-managed-fields"];

/** What a preview asks of a cluster. It changes nothing there. */
export interface Cluster {
  /** Those of the objects that are there, as they are. */
  current(objects: readonly KubernetesObject[]): Promise<KubernetesObject[]>;
  /** The objects as they would be after an apply, the API server's defaults included.
   *  @throws Refused when it takes one of them not; Error when it cannot be asked */
  applied(objects: readonly KubernetesObject[]): Promise<KubernetesObject[]>;
  /** Objects with these labels, of the kinds named as `kind.group`. */
  labelled(kinds: readonly string[], namespace: string, selector: string): Promise<KubernetesObject[]>;
}

/** The API server would not take an object. */
export class Refused extends Error {}

/** Words by which the API server says no to an object. All else (no answer, no right to ask) is a failure to find out. */
const REFUSALS =
  /is invalid|denied the request|strict decoding error|failed to create typed patch object|cannot be handled as a|no matches for kind|unknown field|Apply failed with|\(Invalid\)|\(BadRequest\)|\(Conflict\)|namespaces "[^"]*" not found|violates PodSecurity|exceeded quota/;
const NO_RIGHT = /is forbidden: User /;

/** A cluster as kubectl sees it. */
export function clusterOf(access: ClusterAccess, signal?: AbortSignal): Cluster {
  const options: KubectlOptions = { timeoutMs: TIMEOUT_MS, ...(signal ? { signal } : {}) };
  const ask = async (args: readonly string[], stdin?: string) =>
    itemsOf(await kubectl(access, [...args, "-o", "json"], { ...options, ...(stdin === undefined ? {} : { stdin }) }));
  return {
    current: (objects) =>
      objects.length === 0 ? Promise.resolve([]) : ask([...GET, "-f", "-"], listOf(objects.map(named))),
    async applied(objects) {
      if (objects.length === 0) return [];
      try {
        return await ask(["apply", ...OURS, "--dry-run=server", "-f", "-"], listOf(objects));
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        if (REFUSALS.test(text) && !NO_RIGHT.test(text)) throw new Refused(text);
        throw error;
      }
    },
    labelled: (kinds, namespace, selector) =>
      kinds.length === 0
        ? Promise.resolve([])
        : ask([...GET, kinds.join(","), `--namespace=${namespace}`, `--selector=${selector}`]),
  };
}

/** Enough to ask for it: what it holds stays here. */
function named({ apiVersion, kind, metadata }: KubernetesObject): KubernetesObject {
  const { name, namespace } = metadata;
  return { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
}

function listOf(items: readonly KubernetesObject[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

/** kubectl gives a list, or one object alone, or nothing at all. */
function itemsOf(text: string): KubernetesObject[] {
  if (text.trim() === "") return [];
  const value = JSON.parse(text) as KubernetesObject & { items?: KubernetesObject[] };
  return value.items ?? [value];
}
