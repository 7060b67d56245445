import { kubectl, type ClusterAccess } from "../kubernetes.ts";
import type { KubernetesObject } from "./objects.ts";

export interface ApplyOptions {
  /** Namespace that holds the record of what was applied. */
  readonly namespace: string;
  /** Name of the set: objects of an earlier apply of the same set that are no longer in it are deleted. */
  readonly set: string;
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 120_000;
/** How objects are applied: by one field manager, which takes over what another one set. The program is the only source
 *  of these fields. */
export const OURS = ["--server-side", "--field-manager=iam-ha", "--force-conflicts"];

/** `kubectl apply --server-side` with pruning: what was applied before under the same set and is not there any more is
 *  deleted. Everything goes over stdin: Secrets are in it. Needs kubectl 1.27 (apply sets).
 *  @returns kubectl's lines, one per object
 *  @throws Error with kubectl's message */
export async function applyObjects(
  access: ClusterAccess,
  objects: readonly KubernetesObject[],
  options: ApplyOptions,
): Promise<string[]> {
  const namespaces = objects.filter((object) => object.kind === "Namespace");
  const others = objects.filter((object) => object.kind !== "Namespace");
  const call = async (args: readonly string[], items: readonly KubernetesObject[]) =>
    lines(
      await kubectl(access, args, {
        stdin: asList(items),
        timeoutMs: TIMEOUT_MS,
        env: { KUBECTL_APPLYSET: "true" },
        ...(options.signal ? { signal: options.signal } : {}),
      }),
    );
  // The namespace first and outside of the set: the set's record stands in it, and pruning must never reach it.
  const first = namespaces.length > 0 ? await call(["apply", ...OURS, "-f", "-"], namespaces) : [];
  const prune = ["--prune", `--applyset=configmaps/${options.set}`, `--namespace=${options.namespace}`];
  return [...first, ...(await call(["apply", ...OURS, ...prune, "-f", "-"], others))];
}

/** Checks the objects against the API server's schemas and admission without changing anything. The namespace has to
 *  be there.
 *  @throws Error with every objection */
export async function dryRunObjects(access: ClusterAccess, objects: readonly KubernetesObject[]): Promise<string[]> {
  return lines(
    await kubectl(access, ["apply", ...OURS, "--dry-run=server", "-f", "-"], {
      stdin: asList(objects),
      timeoutMs: TIMEOUT_MS,
    }),
  );
}

function asList(items: readonly KubernetesObject[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

function lines(text: string): string[] {
  return text.split("\n").filter(Boolean);
}
