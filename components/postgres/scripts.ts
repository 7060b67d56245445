import { readFileSync } from "node:fs";
import { reconcilerConfig } from "./patroni.ts";
import type { PostgresSettings } from "./settings.ts";

const SCRIPTS = [
  "birth.py",
  "clone.py",
  "patroni_api.py",
  "pod.py",
  "rebuild.py",
  "reconciler.py",
  "roles.py",
  "rules.py",
  "source.py",
  "start.py",
] as const;

/** What is mounted at PATHS.scripts: the programs, and what they need to know. */
export function scriptFiles(settings: PostgresSettings): Record<string, string> {
  const programs = SCRIPTS.map((name): [string, string] => [
    name,
    readFileSync(new URL(`./files/${name}`, import.meta.url), "utf8"),
  ]);
  return {
    ...Object.fromEntries(programs),
    "reconciler.json": `${JSON.stringify(reconcilerConfig(settings), undefined, 2)}\n`,
  };
}
