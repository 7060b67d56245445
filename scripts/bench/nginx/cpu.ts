import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks a second in /proc; 100 on every Linux that Debian has. */
const TICKS = 100;

/** CPU time, user and system, that a process and all below it have used until now. */
export function cpuSeconds(pid: number): number {
  const processes = new Map<number, { parent: number; ticks: number }>();
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      // The name in parentheses may hold anything; what follows it is numbers: state, parent, …, utime (14), stime (15).
      const text = readFileSync(`/proc/${name}/stat`, "utf8");
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      processes.set(Number(name), { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) });
    } catch {
      // It has ended in between.
    }
  }
  let ticks = 0;
  for (const [name, process] of processes) if (name === pid || isBelow(name)) ticks += process.ticks;
  return ticks / TICKS;

  function isBelow(name: number): boolean {
    for (let at = processes.get(name); at; at = processes.get(at.parent)) if (at.parent === pid) return true;
    return false;
  }
}
