import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../paths.ts";
import type { Counts } from "./run-layer.ts";

const bin = (name: string, path: string) => ({ name, argv: [process.execPath, join(ROOT, "node_modules", path)] });

const CHECKS = [
  { ...bin("types (tsc --strict)", "typescript/bin/tsc"), args: ["-p", "."] },
  { ...bin("lint (eslint)", "eslint/bin/eslint.js"), args: ["."] },
  { ...bin("format (prettier)", "prettier/bin/prettier.cjs"), args: ["--check", "--log-level", "warn", "."] },
  {
    name: "docs/config.md is what the schema says",
    argv: [process.execPath, join(ROOT, "scripts/main.ts")],
    args: ["config-table", "--check"],
  },
];

const LIMIT_MS = 5 * 60_000;

/** What needs no test runner: types, lint, format, generated files. Each counts as one. */
export async function runChecks(signal: AbortSignal): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  process.stdout.write("\n== check: types, lint, format, generated files\n");
  for (const check of CHECKS) {
    const ok = await runs([...check.argv, ...check.args], AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]));
    process.stdout.write(`  ${ok ? "✔" : "✘"} ${check.name}\n`);
    counts[ok ? "passed" : "failed"] += 1;
  }
  return counts;
}

function runs(argv: readonly string[], signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(argv[0]!, argv.slice(1), { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"], signal });
    child.on("error", () => resolve(false));
    child.on("close", (code) => resolve(code === 0));
  });
}
