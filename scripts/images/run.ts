/**
 * Child processes: each with a time-out, stopped together with whatever it started, and ended by the kernel should
 * this process be killed.
 */
import { spawn } from "node:child_process";
import { delimiter } from "node:path";
import { createInterface } from "node:readline";

export interface RunOptions {
  /** Longest time, in milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  cwd?: string;
  /**
   * In process and mount namespaces of its own: however this process ends, no process and no mount of the command is
   * left. Not for package tools on the host, which must not be cut off in the middle. Needs root. Default false.
   */
  contained?: boolean;
  /** Replaces the environment; the caller's own by default. */
  env?: NodeJS.ProcessEnv;
  /** Every line of standard output and standard error as it comes. */
  onLine?: (line: string) => void;
}

/** Lines of output that an error message carries: enough to see the cause. */
const TAIL_LINES = 12;

/** Where Debian keeps programs for root, its package tools' helpers among them; a user's PATH may lack these folders. */
const SYSTEM_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The folders programs are looked for in: those of PATH, then the system's. */
export function programFolders(env: NodeJS.ProcessEnv = process.env): string[] {
  return [...new Set([...(env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== ""), ...SYSTEM_PATH])];
}

/** The shell is the first process in the namespace: it takes in what loses its parent, and ends with the command. */
const CONTAINED = [
  ...["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"],
  ...["sh", "-c", '"$@"; exit $?', "sh"],
];

/** Time between TERM and KILL when a child is stopped. */
const TERM_GRACE_MS = 5_000;

/** A command that failed: what ran, how it ended and the last lines it wrote. */
export class CommandError extends Error {
  readonly tail: string;

  constructor(command: string, how: string, tail: string) {
    super(`${command} ${how}${tail === "" ? "" : `:\n${tail}`}`);
    this.name = "CommandError";
    this.tail = tail;
  }
}

/**
 * Runs a command and gives its standard output.
 *
 * @throws CommandError when it can't be started, fails or takes too long; the signal's reason when that is raised
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string> {
  options.signal?.throwIfAborted();
  const name = argv.slice(0, 1).join(" ").split("/").at(-1) ?? argv[0];
  // A signal from the kernel at the death of this process. A group of its own: stopping it stops its children too.
  const guard =
    options.contained === true ? ["--pdeathsig", "KILL", "--", ...CONTAINED] : ["--pdeathsig", "TERM", "--"];
  const child = spawn("setpriv", [...guard, ...argv], {
    cwd: options.cwd,
    env: { ...(options.env ?? process.env), PATH: programFolders(options.env).join(delimiter) },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const out: string[] = [];
  const tail: string[] = [];
  const note = (line: string): void => {
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    options.onLine?.(line);
  };
  const readers = [child.stdout, child.stderr].map(async (stream) => {
    for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
      if (stream === child.stdout) out.push(line);
      note(line);
    }
  });

  let cause: "timeout" | "signal" | undefined;
  let killer: NodeJS.Timeout | undefined;
  const killGroup = (signal: NodeJS.Signals): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // The group is gone already.
    }
  };
  const stop = (why: "timeout" | "signal"): void => {
    if (cause !== undefined) return;
    cause = why;
    killGroup("SIGTERM");
    killer = setTimeout(() => killGroup("SIGKILL"), TERM_GRACE_MS);
  };
  const onAbort = (): void => stop("signal");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => stop("timeout"), options.timeoutMs);
  try {
    const end = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
      child.once("error", (error) => reject(new CommandError(name, `could not be started (${error.message})`, "")));
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    // The signal first: a command that was stopped did not fail by itself.
    if (cause === "signal") options.signal?.throwIfAborted();
    // What is left of the group would keep the pipes open.
    if (cause !== undefined) killGroup("SIGKILL");
    await Promise.all(readers);
    if (cause === "timeout") {
      throw new CommandError(name, `did not end within ${Math.round(options.timeoutMs / 1000)} s`, tail.join("\n"));
    }
    if (end.code !== 0) {
      throw new CommandError(
        name,
        end.code === null ? `was ended by ${end.signal}` : `failed with code ${end.code}`,
        tail.join("\n"),
      );
    }
    return out.join("\n");
  } finally {
    clearTimeout(timer);
    clearTimeout(killer);
    if (cause !== undefined) killGroup("SIGKILL");
    options.signal?.removeEventListener("abort", onAbort);
  }
}
