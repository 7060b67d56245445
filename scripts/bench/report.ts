import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { ROOT } from "../paths.ts";

export interface Report {
  /** File name under docs/bench/, without suffix. */
  readonly name: string;
  readonly title: string;
  /** Command that makes the figures again. */
  readonly command: string;
  /** What was done, in sentences. */
  readonly method: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What the figures say, and what they do not. */
  readonly remarks: readonly string[];
}

/** Prints a report and keeps it under docs/bench/, with the date and the machine's size. */
export function report({ name, title, command, method, header, rows, remarks }: Report): void {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const text = [
    `# ${title}`,
    "",
    `${new Date().toISOString().slice(0, 10)}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, \`${command}\`. The machine is shared and noisy: read ratios and sizes, not digits.`,
    "",
    method,
    "",
    row(header),
    row(header.map(() => "---")),
    ...rows.map(row),
    ...(remarks.length > 0 ? ["", ...remarks.map((remark) => `- ${remark}`)] : []),
    "",
  ].join("\n");
  mkdirSync(join(ROOT, "docs/bench"), { recursive: true });
  writeFileSync(join(ROOT, "docs/bench", `${name}.md`), text);
  process.stdout.write(`${text}\n`);
}

/** Median of some figures. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
