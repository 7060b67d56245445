import { spawn } from "node:child_process";

export interface RunOptions {
  /** Milliseconds until the command is killed. Default 60 000. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
  /** Text for the command's standard input. Default none. */
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Called with each line of either output as it comes. */
  readonly onLine?: (line: string) => void;
}

/** A command that ended with anything but 0. */
export class CommandError extends Error {
  readonly code: number | null;
  readonly stderr: string;
  constructor(command: string, code: number | null, stderr: string, why: string) {
    super(`${command} ${why}${stderr.trim() === "" ? "." : `: ${tail(stderr)}`}`);
    this.name = "CommandError";
    this.code = code;
    this.stderr = stderr;
  }
}

/** Runs a command without a shell and gives its standard output. @throws CommandError unless it ends with 0. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  options.signal?.throwIfAborted();
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    signal: options.signal,
    killSignal: "SIGKILL",
    timeout: options.timeout ?? 60_000,
  });
  const name = [command, ...args.slice(0, 2)].join(" ");
  return await new Promise<string>((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    const lines = lineSplitter(options.onLine);
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      lines(text);
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-16_384);
      lines(text);
    });
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (error.name === "AbortError") reject(error);
      else if (error.code === "ENOENT") reject(new CommandError(name, null, "", "is not installed"));
      else reject(new CommandError(name, null, error.message, "could not be started"));
    });
    child.once("close", (code, killed) => {
      if (code === 0) resolve(stdout);
      else
        reject(new CommandError(name, code, stderr, killed === null ? `ended with ${code}` : `was ended by ${killed}`));
    });
    if (options.input !== undefined) {
      child.stdin!.on("error", () => {}); // a command may end without reading all; its exit code tells
      child.stdin!.end(options.input);
    }
  });
}

function lineSplitter(onLine: ((line: string) => void) | undefined): (text: string) => void {
  if (onLine === undefined) return () => {};
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  };
}

function tail(text: string): string {
  return text.trim().split("\n").slice(-6).join("\n");
}
