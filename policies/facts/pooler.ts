import { COMPONENTS } from "../../components/common/names.ts";
import { CannotJudge, fileIn, type Resource, type Stack } from "./stack.ts";

const FILE = "pgbouncer.ini";

/** One entry of PgBouncer: a line of `[databases]`. */
export interface Pool {
  /** Name under which clients reach it. */
  readonly entry: string;
  /** Its settings as they are written: `pool_size`, `min_pool_size`, … */
  readonly settings: Readonly<Record<string, string>>;
}

/** What PgBouncer is told. */
export interface PoolerConfig {
  readonly resource: Resource;
  readonly pools: readonly Pool[];
  /** `[pgbouncer]`: values as they are written. */
  readonly settings: Readonly<Record<string, string>>;
}

/** PgBouncer's configuration in a resource; undefined for any other resource. */
export function poolerIn(resource: Resource): PoolerConfig | undefined {
  const text = fileIn(resource, COMPONENTS.pooler, FILE);
  return text === undefined ? undefined : { resource, ...parsePooler(text) };
}

/** PgBouncer's configuration in a stack.
 *  @throws CannotJudge when there is none */
export function poolerOf(stack: Stack): PoolerConfig {
  const { resource, text } = stack.file(COMPONENTS.pooler, FILE);
  return { resource, ...parsePooler(text) };
}

/** A number that PgBouncer is told.
 *  @throws CannotJudge when it is missing or no number: PgBouncer's own default is not known here */
export function numberOf(settings: Readonly<Record<string, string>>, key: string, where: string): number {
  const text = settings[key];
  const value = Number(text);
  if (text === undefined || text.trim() === "" || !Number.isFinite(value))
    throw new CannotJudge(`${where}: ${key} is ${text === undefined ? "not set" : JSON.stringify(text)}`);
  return value;
}

function parsePooler(text: string): Pick<PoolerConfig, "pools" | "settings"> {
  const pools: Pool[] = [];
  const settings: Record<string, string> = {};
  let section = "";
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line === "" || line.startsWith(";") || line.startsWith("#")) continue;
    const header = /^\[(.+)\]$/.exec(line);
    if (header) {
      section = header[1]!;
      continue;
    }
    const at = line.indexOf("=");
    if (at < 0) throw new CannotJudge(`${FILE}: no setting: ${line}`);
    const [key, value] = [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    if (section === "databases") pools.push({ entry: key, settings: wordsOf(value) });
    else settings[key] = value;
  }
  return { pools, settings };
}

function wordsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split(/\s+/)
      .filter(Boolean)
      .map((word) => [word.split("=")[0]!, word.split("=").slice(1).join("=")]),
  );
}
