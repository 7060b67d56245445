import { execFileSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { installPackages } from "../images/apt.ts";

/** Debian's packages whose programs the engine tests run on loopback. */
const ENGINES = ["nginx", "haproxy", "pgbouncer", "postgresql", "redis-server", "redis-tools", "openssl", "curl"];

const POLICY = "/usr/sbin/policy-rc.d";

/** What the scanners that are Python packages are installed with. */
const SCANNERS = ["python3-venv"];

export const installEngines = (signal: AbortSignal) => installMissing(ENGINES, signal);
export const installForScanners = (signal: AbortSignal) => installMissing(SCANNERS, signal);

/** Installs what is missing of them. None of their services is started: a policy that forbids it is there meanwhile. */
async function installMissing(names: readonly string[], signal: AbortSignal): Promise<void> {
  const missing = names.filter((name) => !installed(name));
  if (missing.length === 0) return;
  process.stdout.write(`  installing ${missing.join(", ")}\n`);
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    await installPackages(missing, signal);
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}

function installed(name: string): boolean {
  try {
    const state = execFileSync("dpkg-query", ["--show", "--showformat=${db:Status-Status}", name], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 10_000,
    });
    return state === "installed";
  } catch {
    return false;
  }
}
