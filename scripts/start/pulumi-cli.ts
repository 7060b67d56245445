import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { ROOT } from "../paths.ts";
import { writePrivate } from "../private-file.ts";
import { PROJECT } from "../render/stack-config.ts";

/** One stack of the project with its state, its config and its key in a private folder of this machine. */
export interface LocalStack {
  readonly name: string;
  /** The stack's config: takes the place of Pulumi.<stack>.yaml, which is not touched. */
  readonly configFile: string;
  readonly env: NodeJS.ProcessEnv;
}

export interface PulumiRunOptions {
  /** Text for standard input: secrets go this way, never by arguments. */
  readonly stdin?: string;
  /** Interrupts the engine, which then saves its state. */
  readonly signal?: AbortSignal;
  /** Interrupted after this time in milliseconds. Default 60000. */
  readonly timeoutMs?: number;
  /** Is given each line of the output. */
  readonly onLine?: (line: string) => void;
}

/** How long an interrupted engine may take to save its state, in milliseconds, before it is killed: it waits for the
 *  calls that are under way. */
const SAVE_LIMIT_MS = 60_000;
/** Last lines of a failed run that go into its error. */
const TOLD_LINES = 25;

/** The stack of a region of an instance.
 *  @param folder the instance's folder; everything of the engine goes to `pulumi` in it (0700)
 *  @param takeOver objects that already stand in the cluster are taken over instead of refused */
export function localStack(instance: string, region: string, folder: string, takeOver: boolean): LocalStack {
  const state = join(folder, "pulumi");
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const passphrase = join(state, "passphrase");
  if (!existsSync(passphrase)) writePrivate(passphrase, randomBytes(32).toString("base64url"));
  writePrivate(join(state, "Pulumi.yaml"), `name: ${PROJECT}\nruntime: nodejs\n`);
  const name = `local-${instance}-${region}`;
  // The text of a passphrase would have precedence over its file.
  const { PULUMI_CONFIG_PASSPHRASE: _text, PULUMI_STACK: _stack, ...inherited } = process.env;
  return {
    name,
    configFile: join(state, `Pulumi.${name}.yaml`),
    env: {
      ...inherited,
      // The engine takes `node` from PATH, and the program needs this version.
      PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
      PULUMI_BACKEND_URL: `file://${state}`,
      PULUMI_CONFIG_PASSPHRASE_FILE: passphrase,
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...(takeOver ? { PULUMI_K8S_UPSERT_EXISTING_OBJECTS: "true", PULUMI_K8S_ENABLE_PATCH_FORCE: "true" } : {}),
    },
  };
}

/** Runs the engine on a stack and gives what it prints.
 *  @throws Error with the end of its output; an interrupted run has saved its state */
export function runPulumi(stack: LocalStack, args: readonly string[], options: PulumiRunOptions = {}): Promise<string> {
  const what = `pulumi ${args.slice(0, args[0] === "stack" || args[0] === "config" ? 2 : 1).join(" ")}`;
  const timeoutMs = options.timeoutMs ?? 60_000;
  const common = ["--non-interactive", "--color=never"];
  const ofStack = args[0] === "stack" || args[0] === "cancel";
  if (!ofStack) common.push(`--config-file=${stack.configFile}`);
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted();
    // A process group of its own: a terminal's interrupt would reach the engine a second time, and the second one
    // makes it give up without saving.
    const child = spawn("pulumi", [...args, ...common], {
      // Commands on the stack itself know no --config-file: they run beside it, where the engine looks for one by name.
      cwd: ofStack ? dirname(stack.configFile) : ROOT,
      env: stack.env,
      detached: true,
    });
    let out = "";
    let all = "";
    let kill: NodeJS.Timeout | undefined;
    let why: string | undefined;
    const interrupt = (reason: string) => {
      why ??= reason;
      child.kill("SIGINT");
      kill ??= setTimeout(() => child.kill("SIGKILL"), SAVE_LIMIT_MS);
    };
    const limit = setTimeout(() => interrupt(`did not end in ${timeoutMs / 1000} s`), timeoutMs);
    const aborted = () => interrupt("was interrupted");
    options.signal?.addEventListener("abort", aborted, { once: true });
    const done = () => {
      clearTimeout(limit);
      clearTimeout(kill);
      options.signal?.removeEventListener("abort", aborted);
    };
    const take = (text: string) => {
      all += text;
      const line = text.trim().split("\n").at(-1)?.trim();
      if (line) options.onLine?.(line);
    };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      take(text);
    });
    child.stderr.setEncoding("utf8").on("data", take);
    child.stdin.on("error", () => {}); // its own message says why it no longer reads
    child.on("error", (error) => {
      done();
      reject(new Error(`${what} did not start: ${error.message}`));
    });
    child.on("close", (code) => {
      done();
      if (code === 0 && why === undefined) return resolve(out);
      reject(new Error(`${what} ${why ?? "failed"}: ${all.trim().split("\n").slice(-TOLD_LINES).join("\n")}`));
    });
    child.stdin.end(options.stdin ?? "");
  });
}
