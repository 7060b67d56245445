import { columns } from "./columns.ts";
import type { PartRow } from "./parts.ts";

const HEADER = ["region", "part", "pod", "role", "health", "detail"];

/** Every part as text: a table, and a closing line. */
export function statusTable(rows: readonly PartRow[], color: boolean): string {
  const lines = columns(
    HEADER,
    rows.map((row) => ({
      cells: [row.region, row.part, row.pod || "-", row.role, row.healthy ? "healthy" : "NOT HEALTHY", row.detail],
      sick: !row.healthy,
    })),
    color,
  );
  const sick = rows.filter((row) => !row.healthy).length;
  const closing =
    rows.length === 0
      ? "nothing was started"
      : sick === 0
        ? `all ${rows.length} healthy`
        : `${sick} of ${rows.length} not healthy`;
  return [...(rows.length > 0 ? [...lines, ""] : []), closing].join("\n");
}
