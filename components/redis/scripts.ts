import { readFileSync } from "node:fs";

const NAMES = ["alive.sh", "as.sh", "cli.sh", "lib.sh", "ready.sh", "reload.sh", "start.sh", "stop.sh"] as const;

/** What is mounted at PATHS.scripts. */
export function scriptFiles(): Record<string, string> {
  return Object.fromEntries(
    NAMES.map((name) => [name, readFileSync(new URL(`./scripts/${name}`, import.meta.url), "utf8")]),
  );
}
