/** A started process, as its pid file tells it. */
export interface ProcessRecord {
  readonly pid: number;
  /** Start time in clock ticks since boot: with the pid it names one process, also after the pid was used again. */
  readonly startTicks: string;
  /** The boot that the ticks are counted from. */
  readonly bootId: string;
  /** Hash of the command line and of the files it reads: another one means the process is outdated. */
  readonly fingerprint: string;
}

/** The fields of `/proc/<pid>/stat` that matter here. @returns undefined when the text is not a stat line. */
export function parseStat(
  text: string,
): { readonly state: string; readonly parent: number; readonly startTicks: string } | undefined {
  // The second field is the program's name in parentheses and may hold anything, parentheses and spaces too.
  const end = text.lastIndexOf(")");
  if (end < 0) return undefined;
  const fields = text.slice(end + 2).split(" ");
  const state = fields[0];
  const parent = Number(fields[1]);
  const startTicks = fields[19];
  return state !== undefined && startTicks !== undefined && /^\d+$/.test(startTicks)
    ? { state, parent, startTicks }
    : undefined;
}

/** @returns undefined for anything but a complete record: half a file counts as none. */
export function parseRecord(text: string): ProcessRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { pid, startTicks, bootId, fingerprint } = value as Record<string, unknown>;
  const complete =
    Number.isInteger(pid) &&
    (pid as number) > 1 &&
    typeof startTicks === "string" &&
    typeof bootId === "string" &&
    typeof fingerprint === "string";
  return complete ? (value as ProcessRecord) : undefined;
}

/** Whether the record's process is the one that `/proc/<pid>/stat` shows now, and not a dead one nobody has reaped. */
export function isSameProcess(record: ProcessRecord, bootId: string, stat: string | undefined): boolean {
  if (stat === undefined || record.bootId !== bootId) return false;
  const seen = parseStat(stat);
  return seen !== undefined && seen.startTicks === record.startTicks && seen.state !== "Z" && seen.state !== "X";
}

/** What `up` does with one daemon. */
export function nextStep(
  record: ProcessRecord | undefined,
  alive: boolean,
  fingerprint: string,
): "keep" | "start" | "restart" {
  if (record === undefined || !alive) return "start";
  return record.fingerprint === fingerprint ? "keep" : "restart";
}

/** A process among a region's daemons, as /proc shows it. */
export interface SeenProcess {
  readonly pid: number;
  readonly parent: number;
  /** First word of its command line. */
  readonly program: string;
}

/** Whether the process keeps a container running after its containerd has ended; it outlives every daemon. */
export function isShim({ program }: Pick<SeenProcess, "program">): boolean {
  return /(^|\/)containerd-shim[^/]*$/.test(program);
}

/**
 * Daemons nobody knows of: a start that was killed between starting one and writing its record leaves such. A second one
 * would fight with it over files and ports, so they are ended first. What a known daemon has started itself is not one
 * of them, nor is a shim.
 */
export function strays(seen: readonly SeenProcess[], known: ReadonlySet<number>): readonly number[] {
  const all = new Set(seen.map(({ pid }) => pid));
  return seen.filter((p) => !known.has(p.pid) && !all.has(p.parent) && !isShim(p)).map(({ pid }) => pid);
}
