import { spawn } from "node:child_process";

/** A cluster to talk to, and the program to do it with. */
export interface ClusterAccess {
  readonly kubectl: string;
  readonly kubeconfig: string;
  readonly context: string;
}

export interface KubectlOptions {
  /** Text for standard input: secrets go this way, never by arguments. */
  readonly stdin?: string;
  readonly signal?: AbortSignal;
  /** Given up after this time in milliseconds. Default 30000. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs kubectl and gives what it prints.
 *  @throws Error with kubectl's own message */
export function kubectl(access: ClusterAccess, args: readonly string[], options: KubectlOptions = {}): Promise<string> {
  const signals = [AbortSignal.timeout(options.timeoutMs ?? 30_000), ...(options.signal ? [options.signal] : [])];
  return new Promise((resolve, reject) => {
    const child = spawn(access.kubectl, [`--kubeconfig=${access.kubeconfig}`, `--context=${access.context}`, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      signal: AbortSignal.any(signals),
      env: { ...process.env, ...options.env },
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.stdin.on("error", () => {}); // kubectl's own message says why it no longer reads
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "ENOENT"
          ? new Error(`${access.kubectl} is not installed: install kubectl 1.27 or newer`)
          : new Error(`kubectl ${args[0]} did not end: ${error.message}`),
      ),
    );
    child.on("close", (code) =>
      code === 0 ? resolve(out) : reject(new Error(`kubectl ${args[0]} failed: ${err.trim()}`)),
    );
    child.stdin.end(options.stdin ?? "");
  });
}

/** Runs kubectl with `-o json` and gives what it says. */
export async function kubectlJson<T>(
  access: ClusterAccess,
  args: readonly string[],
  options: KubectlOptions = {},
): Promise<T> {
  return JSON.parse(await kubectl(access, [...args, "-o", "json"], options)) as T;
}
