const WIDTH = 24;

/** One line for a step under way: where, what, and a bar when it is known how far. */
export function describeProgress(event: { region?: string; step: string; detail: string; fraction?: number }): string {
  const where = event.region ? `${event.region}: ` : "";
  const text = `${where}${event.detail || event.step}`;
  return event.fraction === undefined ? text : `${bar(event.fraction)} ${text}`;
}

/** `[=====>    ] 42 %` for a fraction from 0 to 1. */
export function bar(fraction: number): string {
  const share = Math.min(1, Math.max(0, fraction));
  const full = Math.round(share * WIDTH);
  const head = full > 0 && full < WIDTH ? ">" : "";
  return `[${"=".repeat(Math.max(0, full - head.length))}${head}${" ".repeat(WIDTH - full)}] ${String(Math.round(share * 100)).padStart(3)} %`;
}
