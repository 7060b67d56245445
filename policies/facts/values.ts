import { CannotJudge } from "./stack.ts";

/** Seconds of each unit, as PostgreSQL, HAProxy and NGINX write them. */
const UNITS: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1, min: 60, m: 60, h: 3600, d: 86_400 };

/** Seconds that a setting stands for: `30s`, `500ms`, or a number in the setting's own unit.
 *  @throws CannotJudge for anything else */
export function durationSeconds(value: string | number, own: "ms" | "s", where: string): number {
  const [, figure, unit = own] =
    /^(-?[0-9]+(?:\.[0-9]+)?)\s*([a-z]*)$/.exec(String(value).trim().replace(/^'|'$/g, "")) ?? [];
  const seconds = UNITS[unit === "" ? own : unit];
  if (figure === undefined || seconds === undefined)
    throw new CannotJudge(`${where}: ${JSON.stringify(value)} is no length of time`);
  return Number(figure) * seconds;
}

/** A JSON text's value.
 *  @throws CannotJudge when it is none */
export function jsonOf(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CannotJudge(`${where}: is no JSON`);
  }
}
