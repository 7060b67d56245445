import { styleText } from "node:util";

/** One line of a table. */
export interface Row {
  readonly cells: readonly string[];
  /** Whether it tells of something that is not as it should be. */
  readonly sick?: boolean;
}

/** A table as lines: columns as wide as their widest cell, sick rows in red. Empty without rows. */
export function columns(header: readonly string[], rows: readonly Row[], color: boolean): string[] {
  if (rows.length === 0) return [];
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map(({ cells }) => cells[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  return [
    line(header),
    ...rows.map(({ cells, sick }) =>
      color && sick ? styleText("red", line(cells), { validateStream: false }) : line(cells),
    ),
  ];
}
