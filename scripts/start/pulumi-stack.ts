import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parse, stringify } from "yaml";
import { SECRET_KEYS } from "../../stacks/config.ts";
import { writePrivate } from "../private-file.ts";
import { type ConfigTree, PROJECT } from "../render/stack-config.ts";
import { type LocalStack, runPulumi } from "./pulumi-cli.ts";

/** Secret texts of a config by their path, such as `iam-ha:secrets.redis`. */
export type SecretTexts = Readonly<Record<string, string>>;

/** The config in two parts: what may stand in a file as it is, and the secret texts. */
export function splitConfig(config: ConfigTree): { plain: ConfigTree; secrets: SecretTexts } {
  const plain: ConfigTree = {};
  const secrets: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    if ((SECRET_KEYS as readonly string[]).includes(key)) collectLeaves(value, pathOf(key), secrets);
    else plain[`${PROJECT}:${key}`] = value;
  }
  return { plain, secrets };
}

/** Text of the stack's config file: the plain part anew, and of the old file its salt and the encrypted values that are
 *  still wanted. */
export function stackFile(plain: ConfigTree, wanted: Iterable<string>, old: ConfigTree | undefined): string {
  const oldConfig = (old?.["config"] ?? {}) as ConfigTree;
  const config: ConfigTree = { ...plain };
  for (const path of wanted) {
    const keys = keysOf(path);
    const kept = keys.reduce<unknown>((tree, key) => (tree as ConfigTree | undefined)?.[key], oldConfig);
    if (typeof (kept as ConfigTree | undefined)?.["secure"] !== "string") continue;
    keys.reduce<ConfigTree>(
      (tree, key, index) => (tree[key] = index === keys.length - 1 ? kept : (tree[key] ?? {})) as ConfigTree,
      config,
    );
  }
  const salt = old?.["encryptionsalt"];
  return stringify({ ...(salt === undefined ? {} : { encryptionsalt: salt }), config });
}

/** Makes the stack if it is not there, and gives it this config. Secrets are encrypted by the engine, and only those
 *  that have changed: each takes it about a second. */
export async function configureStack(
  stack: LocalStack,
  config: ConfigTree,
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<void> {
  const { plain, secrets } = splitConfig(config);
  const old = existsSync(stack.configFile) ? (parse(readFileSync(stack.configFile, "utf8")) as ConfigTree) : undefined;
  writePrivate(stack.configFile, stackFile(plain, Object.keys(secrets), old));
  const stacks = JSON.parse(await runPulumi(stack, ["stack", "ls", "--json"], { signal })) as { name: string }[];
  if (!stacks.some(({ name }) => name.split("/").at(-1) === stack.name)) {
    await runPulumi(stack, ["stack", "init", stack.name, "--no-select"], { signal });
  }
  await releaseLock(stack, signal);
  const shown = JSON.parse(
    await runPulumi(stack, ["config", "--json", "--show-secrets", "--stack", stack.name], { signal }),
  ) as Record<string, { objectValue?: unknown }>;
  const known: Record<string, string> = {};
  for (const key of SECRET_KEYS) collectLeaves(shown[`${PROJECT}:${key}`]?.objectValue, pathOf(key), known);
  const changed = Object.entries(secrets).filter(([path, text]) => known[path] !== text);
  for (const [index, [path, text]] of changed.entries()) {
    onLine(`encrypting secret ${index + 1} of ${changed.length}`);
    await runPulumi(stack, ["config", "set", "--secret", "--raw", "--path", path, "--stack", stack.name], {
      signal,
      stdin: text,
    });
  }
}

/** An engine that was killed leaves the lock on its stack; one that runs keeps it. */
async function releaseLock(stack: LocalStack, signal: AbortSignal): Promise<void> {
  const locks = globSync(`.pulumi/locks/**/${stack.name}/*.json`, { cwd: dirname(stack.configFile) });
  const holders = locks.map(
    (file) => (JSON.parse(readFileSync(join(dirname(stack.configFile), file), "utf8")) as { pid: number }).pid,
  );
  if (holders.length === 0) return;
  const alive = holders.find((pid) => existsSync(`/proc/${pid}`));
  if (alive !== undefined)
    throw new Error(`another pulumi (process ${alive}) works on stack ${stack.name}: let it end, then start again`);
  await runPulumi(stack, ["cancel", stack.name, "--yes"], { signal });
}

function collectLeaves(value: unknown, path: string, into: Record<string, string>): void {
  if (typeof value === "string") into[path] = value;
  else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) collectLeaves(inner, below(path, key), into);
  }
}

function pathOf(key: string): string {
  return `${PROJECT}:${key}`;
}

/** Names with a hyphen stand in brackets and quotes in the engine's paths. */
function below(path: string, key: string): string {
  return /^[A-Za-z0-9_]+$/.test(key) ? `${path}.${key}` : `${path}["${key}"]`;
}

function keysOf(path: string): string[] {
  return path.split(/\.|\["|"\]/).filter(Boolean);
}
