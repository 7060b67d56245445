import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { CommandError, run } from "../local/effects/run.ts";
import { kubeconformFindings, kubeScoreFindings, parseExceptions, type Exception, type Finding } from "./findings.ts";
import type { Scanners } from "./programs.ts";
import { SCHEMA_TEMPLATE } from "./schemas.ts";

/** Milliseconds that a scanner is given for one stack; it takes a few hundredths of a second. */
const LIMIT = 60_000;

/** Checks that kube-score makes only when asked. */
const FURTHER = ["container-seccomp-profile", "container-memory-requests-equal-limits", "container-ports-check"];

/** The exceptions of the project, each with its reason. */
export function readExceptions(): Exception[] {
  return parseExceptions(parse(readFileSync(join(import.meta.dirname, "exceptions.yaml"), "utf8")));
}

/** Holds manifests (YAML documents) against the strict schemas of Kubernetes. */
export async function kubeconform(
  scanners: Scanners,
  manifests: string,
): Promise<{ readonly valid: number; readonly findings: readonly Finding[] }> {
  const args = ["-strict", "-verbose", "-output", "json", "-kubernetes-version", scanners.kubernetes];
  const schemas = ["-schema-location", join(scanners.schemas, SCHEMA_TEMPLATE)];
  return kubeconformFindings(JSON.parse(await answerOf(scanners.kubeconform, [...args, ...schemas, "-"], manifests)));
}

/** Lets kube-score judge manifests (YAML documents) of one stack together. */
export async function kubeScore(scanners: Scanners, manifests: string): Promise<Finding[]> {
  const version = scanners.kubernetes.split(".").slice(0, 2).join(".");
  const further = FURTHER.flatMap((id) => ["--enable-optional-test", id]);
  const args = ["score", "--output-format", "json", "--kubernetes-version", `v${version}`, ...further, "-"];
  return kubeScoreFindings(JSON.parse(await answerOf(scanners.kubeScore, args, manifests)));
}

/** Checks workflows. @returns what actionlint says, one finding a line; empty for nothing */
export async function actionlint(scanners: Scanners, folder: string, files: readonly string[] = []): Promise<string[]> {
  // shellcheck and pyflakes are used where they happen to be installed: what is found must not depend on that.
  const args = ["-oneline", "-no-color", "-shellcheck=", "-pyflakes=", ...files];
  const text = await answerOf(scanners.actionlint, args, "", folder);
  return text.split("\n").filter(Boolean);
}

/** A scanner's standard output. It ends with 1 when it has found something, and with that alone. */
async function answerOf(program: string, args: readonly string[], input: string, cwd?: string): Promise<string> {
  // `run` takes an exit status of 1 for a failure and drops the answer; a shell lets it pass, and only that.
  const script = '"$@" || [ $? -eq 1 ]';
  try {
    return await run("/bin/sh", ["-c", script, "sh", program, ...args], {
      input,
      timeout: LIMIT,
      ...(cwd ? { cwd } : {}),
    });
  } catch (error) {
    if (error instanceof CommandError) throw new Error(`${program} failed: ${error.message}`, { cause: error });
    throw error;
  }
}
