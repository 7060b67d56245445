import { spawn } from "node:child_process";
import type { KubernetesObject } from "./objects.ts";

export interface ApplyOptions {
  /** The kubectl program; 1.27 or later (apply sets). */
  readonly kubectl: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Namespace that holds the record of what was applied. */
  readonly namespace: string;
  /** Name of the set: objects of an earlier apply of the same set that are no longer in it are deleted. */
  readonly set: string;
  readonly signal?: AbortSignal;
  /** Given up after this time; default 120000 ms. */
  readonly timeoutMs?: number;
}

/** `kubectl apply --server-side` with pruning: what was applied before under the same set and is not there any more is
 *  deleted. Everything goes over stdin: Secrets are in it.
 *  @returns kubectl's lines, one per object
 *  @throws Error with kubectl's message */
export async function applyObjects(objects: readonly KubernetesObject[], options: ApplyOptions): Promise<string[]> {
  const namespaces = objects.filter((object) => object.kind === "Namespace");
  const others = objects.filter((object) => object.kind !== "Namespace");
  const ours = ["--server-side", "--field-manager=iam-ha", "--force-conflicts"];
  // The namespace first and outside of the set: the set's record stands in it, and pruning must never reach it.
  const first = await kubectl(["apply", ...ours, "-f", "-"], options, asList(namespaces));
  const rest = await kubectl(
    ["apply", ...ours, "--prune", `--applyset=configmaps/${options.set}`, `--namespace=${options.namespace}`, "-f", "-"],
    options,
    asList(others),
  );
  return [...first, ...rest];
}

/** Checks the objects against the API server's schemas and admission without changing anything. */
export async function dryRunObjects(objects: readonly KubernetesObject[], options: ApplyOptions): Promise<string[]> {
  return kubectl(["apply", "--server-side", "--field-manager=iam-ha", "--force-conflicts", "--dry-run=server", "-f", "-"], options, asList(objects));
}

function asList(items: readonly KubernetesObject[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

function kubectl(args: readonly string[], options: ApplyOptions, stdin: string): Promise<string[]> {
  const place = [
    ...(options.kubeconfig ? [`--kubeconfig=${options.kubeconfig}`] : []),
    ...(options.context ? [`--context=${options.context}`] : []),
  ];
  const signals = [AbortSignal.timeout(options.timeoutMs ?? 120_000), ...(options.signal ? [options.signal] : [])];
  return new Promise((resolve, reject) => {
    const child = spawn(options.kubectl, [...place, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      signal: AbortSignal.any(signals),
      env: { ...process.env, KUBECTL_APPLYSET: "true" },
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.stdin.on("error", () => {}); // kubectl's own message says why it no longer reads
    child.on("error", (error) => reject(new Error(`kubectl ${args[0]} did not end: ${error.message}`)));
    child.on("close", (code) =>
      code === 0 ? resolve(out.split("\n").filter(Boolean)) : reject(new Error(`kubectl ${args[0]} failed: ${err.trim()}`)),
    );
    child.stdin.end(stdin);
  });
}
