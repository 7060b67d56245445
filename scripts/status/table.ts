import { styleText } from "node:util";
import type { PartRow } from "./parts.ts";

const HEADER = ["region", "part", "pod", "role", "health", "detail"] as const;

/** The status board as text: a table, and a closing line. */
export function statusTable(rows: readonly PartRow[], color: boolean): string {
  const cells = rows.map((row) => [
    row.region,
    row.part,
    row.pod || "-",
    row.role,
    row.healthy ? "healthy" : "NOT HEALTHY",
    row.detail,
  ]);
  const widths = HEADER.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  const body = cells.map((row, i) => (color && !rows[i]!.healthy ? styleText("red", line(row)) : line(row)));
  const sick = rows.filter((row) => !row.healthy).length;
  const closing =
    rows.length === 0
      ? "nothing was started"
      : sick === 0
        ? `all ${rows.length} healthy`
        : `${sick} of ${rows.length} not healthy`;
  return [...(rows.length > 0 ? [line(HEADER), ...body, ""] : []), closing].join("\n");
}
