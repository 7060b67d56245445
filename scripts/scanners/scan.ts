import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { CommandError, run, type RunOptions } from "../local/effects/run.ts";
import {
  checkovFindings,
  kubeconformFindings,
  kubeScoreFindings,
  parseExceptions,
  zizmorFindings,
  type Exception,
  type Finding,
} from "./findings.ts";
import type { Scanners } from "./programs.ts";
import { SCHEMA_TEMPLATE } from "./schemas.ts";

/** Milliseconds that a scanner is given; checkov takes five seconds of CPU, the others less than one. */
const LIMIT = 4 * 60_000;

/** Checks that kube-score makes only when asked. */
const FURTHER = ["container-seccomp-profile", "container-memory-requests-equal-limits", "container-ports-check"];

/** The scanners that there may be exceptions for; actionlint and kubeconform have none. */
export const EXCUSED = ["kube-score", "checkov", "zizmor"] as const;

/** The exceptions of the project from a scanner's findings, each with its reason. */
export function readExceptions(scanner: (typeof EXCUSED)[number]): Exception[] {
  const all = parseExceptions(parse(readFileSync(join(import.meta.dirname, "exceptions.yaml"), "utf8")), EXCUSED);
  return all.filter((one) => one.scanner === scanner);
}

/** Holds manifests (YAML documents) against the strict schemas of Kubernetes. */
export async function kubeconform(
  scanners: Scanners,
  manifests: string,
): Promise<{ readonly valid: number; readonly findings: readonly Finding[] }> {
  const args = ["-strict", "-verbose", "-output", "json", "-kubernetes-version", scanners.kubernetes];
  const schemas = ["-schema-location", join(scanners.schemas, SCHEMA_TEMPLATE)];
  return kubeconformFindings(
    JSON.parse(await answerOf(scanners.kubeconform, [...args, ...schemas, "-"], { input: manifests })),
  );
}

/** Lets kube-score judge the manifests (YAML documents) of stacks, the objects of each stack together. */
export async function kubeScore(scanners: Scanners, stacks: readonly string[]): Promise<Finding[]> {
  const version = scanners.kubernetes.split(".").slice(0, 2).join(".");
  const further = FURTHER.flatMap((id) => ["--enable-optional-test", id]);
  const args = ["score", "--output-format", "json", "--kubernetes-version", `v${version}`, ...further, "-"];
  const findings: Finding[] = [];
  for (const input of stacks)
    findings.push(...kubeScoreFindings(JSON.parse(await answerOf(scanners.kubeScore, args, { input }))));
  return findings;
}

/** Lets checkov judge the manifests (YAML documents) of stacks for safety; all in one run, which takes its time to start. */
export async function checkov(scanners: Scanners, stacks: readonly string[]): Promise<Finding[]> {
  const folder = await mkdtemp(join(tmpdir(), "iam-ha-checkov-"));
  try {
    const files = stacks.map((_, i) => join(folder, `stack-${i}.yaml`));
    for (const [i, file] of files.entries()) await writeFile(file, stacks[i]!, { mode: 0o600 });
    const args = ["--framework", "kubernetes", "--output", "json", "--quiet", "--compact", "--skip-download"];
    // Nothing is asked of its maker's service: neither checks nor links to its pages.
    const env = { ...process.env, BC_SKIP_MAPPING: "TRUE" };
    return checkovFindings(JSON.parse(await answerOf(scanners.checkov, [...args, "--file", ...files], { env })));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Lets zizmor judge the workflows and actions in a folder for safety. */
export async function zizmor(scanners: Scanners, folder: string): Promise<Finding[]> {
  // Without --no-exit-codes it ends with the severity; with it, only with its own failures.
  const args = ["--offline", "--strict-collection", "--no-exit-codes", "--format", "json", ".github"];
  return zizmorFindings(JSON.parse(await run(scanners.zizmor, args, { cwd: folder, timeout: LIMIT })));
}

/** Checks workflows. @returns what actionlint says, one finding a line; empty for nothing */
export async function actionlint(scanners: Scanners, folder: string, files: readonly string[] = []): Promise<string[]> {
  // shellcheck and pyflakes are used where they happen to be installed: what is found must not depend on that.
  const args = ["-oneline", "-no-color", "-shellcheck=", "-pyflakes=", ...files];
  const text = await answerOf(scanners.actionlint, args, { cwd: folder });
  return text.split("\n").filter(Boolean);
}

/** A scanner's standard output. It ends with 1 when it has found something, and with that alone. */
async function answerOf(
  program: string,
  args: readonly string[],
  options: Pick<RunOptions, "input" | "cwd" | "env">,
): Promise<string> {
  // `run` takes an exit status of 1 for a failure and drops the answer; a shell lets it pass, and only that.
  const script = '"$@" || [ $? -eq 1 ]';
  try {
    return await run("/bin/sh", ["-c", script, "sh", program, ...args], { ...options, timeout: LIMIT });
  } catch (error) {
    if (error instanceof CommandError) throw new Error(`${program} failed: ${error.message}`, { cause: error });
    throw error;
  }
}
