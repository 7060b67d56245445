import { spawn } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../paths.ts";
import type { Layer } from "./layers.ts";

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs one layer's files under mocha in a process of its own. A run that dies without leaving its counts is a failure. */
export async function runLayer(layer: Layer, signal: AbortSignal): Promise<Counts> {
  const files = globSync(`${layer.folder}/**/*.test.ts`, { cwd: ROOT }).sort();
  if (files.length === 0) {
    process.stdout.write(`  no tests in ${layer.folder}\n`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const folder = mkdtempSync(join(tmpdir(), "iam-ha-test-"));
  const stats = join(folder, "stats.json");
  try {
    const code = await mocha(
      ["--timeout", String(layer.timeoutMs), ...files],
      stats,
      AbortSignal.any([signal, AbortSignal.timeout(layer.limitMs)]),
    );
    if (!existsSync(stats)) return { passed: 0, failed: 1, skipped: 0 };
    const read = JSON.parse(readFileSync(stats, "utf8")) as { passes: number; failures: number; pending: number };
    // Mocha counts failed tests; one that failed before it had any (a file that does not load) shows in the exit code.
    const failed = code === 0 ? read.failures : Math.max(read.failures, 1);
    return { passed: read.passes, failed, skipped: read.pending };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function mocha(args: readonly string[], stats: string, signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [
        join(ROOT, "node_modules/mocha/bin/mocha.js"),
        "--no-config",
        "--forbid-only",
        "--exit",
        "--reporter",
        join(ROOT, "scripts/test/reporter.cjs"),
        ...args,
      ],
      {
        cwd: ROOT,
        stdio: ["ignore", "inherit", "inherit"],
        env: { ...process.env, IAM_HA_TEST_STATS: stats },
        signal,
        killSignal: "SIGTERM",
      },
    );
    child.on("error", (error) => {
      process.stdout.write(`  mocha did not end by itself: ${error.message}\n`);
      resolve(1);
    });
    child.on("close", (code) => resolve(code ?? 1));
  });
}
