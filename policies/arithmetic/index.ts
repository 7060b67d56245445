import { timingsOf } from "../facts/timings.ts";
import type { Stack } from "../facts/stack.ts";
import { DEFAULT_ASSUMPTIONS, type Assumptions } from "./assumptions.ts";
import { printSeconds, secondsOf, type Bound } from "./bound.ts";
import { OBJECTIVES, type FunctionName, type Objective } from "./functions.ts";
import { recoveryPoints } from "./recovery-point.ts";
import { recoveryTimes } from "./recovery-time.ts";

/** Tables of a stack's bounds on recovery time and recovery point, term by term, as Markdown.
 *  @throws CannotJudge when a timing cannot be read */
export function boundsMarkdown(stack: Stack, assumptions: Assumptions = DEFAULT_ASSUMPTIONS): string {
  const timings = timingsOf(stack);
  return [
    "### Recovery time",
    "",
    table(recoveryTimes(timings, assumptions), "recoveryTime"),
    "",
    "### Recovery point",
    "",
    table(recoveryPoints(timings), "recoveryPoint"),
    "",
  ].join("\n");
}

type Row = Bound & { readonly fault: string; readonly functions: readonly FunctionName[] };

function table(rows: readonly Row[], figure: "recoveryTime" | "recoveryPoint"): string {
  const lines = OBJECTIVES.flatMap((objective) => {
    const of = rows.filter(({ functions }) => functions.some((name) => objective.functions.includes(name)));
    const unnamed = objective.functions.filter((name) => !rows.some(({ functions }) => functions.includes(name)));
    return [
      ...of.map((row) => line(row, objective, figure)),
      ...unnamed.map((name) => `| ${objective.name}: ${name} | | no part of the stack does this yet | | |`),
    ];
  });
  return [
    "| Objective, functions | Fault | Bound | Objective | Terms |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}

function line(row: Row, objective: Objective, figure: "recoveryTime" | "recoveryPoint"): string {
  const functions = objective.functions.filter((name) => row.functions.includes(name)).join(", ");
  const terms = row.terms.map(({ what, seconds, source }) => `${printSeconds(seconds)} ${what} (${source})`);
  const without = row.without.map((text) => `not counted: ${text}`);
  const cells = [
    `${objective.name}: ${functions}`,
    row.fault,
    printSeconds(secondsOf(row)),
    printSeconds(objective[figure]),
    [...terms, ...without].join("<br>"),
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}
