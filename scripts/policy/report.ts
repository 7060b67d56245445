import { styleText } from "node:util";
import type { CheckResult, Finding, Remedied } from "./findings.ts";

export interface ReportOptions {
  /** Resources that were judged. */
  readonly resources: number;
  /** Width of a line in characters; default 100. */
  readonly width?: number;
  readonly color?: boolean;
}

/** Findings for people: by stack, by rule, by object. */
export function reportText(result: CheckResult, { resources, width = 100, color = false }: ReportOptions): string {
  const paint = (style: "red" | "yellow" | "bold", text: string) =>
    color ? styleText(style, text, { validateStream: false }) : text;
  const lines: string[] = [];
  for (const [stack, findings] of groups(result.findings, ({ stack }) => stack)) {
    lines.push(paint("bold", stack));
    for (const [rule, ofRule] of groups(findings, (one) => one.rule)) {
      const first = ofRule[0]!;
      const style = first.level === "mandatory" ? "red" : "yellow";
      lines.push(
        `  ${paint(style, rule)}  ${first.severity}, ${first.level}`,
        ...wrap(first.description, "    ", width),
        ...ofRule.flatMap((one) => [
          ...wrap(one.object ?? "the stack as a whole", "    - ", width),
          ...one.message.split("\n").flatMap((line) => wrap(line, "      ", width)),
        ]),
        ...wrap(`What to do: ${first.remediation}`, "    ", width),
        ...wrap(`Why: ${first.url}`, "    ", width),
      );
    }
    lines.push("");
  }
  for (const one of result.remedied) lines.push(...wrap(remediedText(one), "", width));
  if (result.remedied.length > 0) lines.push("");
  return [...lines, summary(result, resources)].join("\n");
}

function remediedText({ stack, rule, object, paths }: Remedied): string {
  return `${stack}: ${rule} remediates ${object}: ${paths.join(", ")}`;
}

/** `12 rules, 291 resources, 1 violation`. */
export function summary({ findings, rules }: CheckResult, resources: number): string {
  const mandatory = findings.filter(({ level }) => level === "mandatory").length;
  const advisory = findings.length - mandatory;
  const kinds = mandatory > 0 && advisory > 0 ? ` (${mandatory} mandatory, ${advisory} advisory)` : "";
  const only = mandatory === 0 && advisory > 0 ? " (advisory)" : "";
  return `${count(rules, "rule")}, ${count(resources, "resource")}, ${count(findings.length, "violation")}${kinds}${only}`;
}

/** The same for machines. */
export function reportJson(result: CheckResult, { resources }: Pick<ReportOptions, "resources">): string {
  const { findings, remedied, rules, millis } = result;
  return JSON.stringify({ passed: passes(findings), rules, resources, millis, findings, remedied }, null, 2);
}

/** Whether nothing mandatory was found. */
export function passes(findings: readonly Finding[]): boolean {
  return findings.every(({ level }) => level === "advisory");
}

/** Items by key, in the order in which keys first come. */
export function groups<Item>(items: readonly Item[], keyOf: (item: Item) => string): [string, Item[]][] {
  return [...Map.groupBy(items, keyOf)];
}

/** A text as lines of at most the width where its words allow it; the lines after the first stand under its text. */
export function wrap(text: string, indent: string, width: number): string[] {
  const lines: string[] = [];
  const under = " ".repeat(indent.length);
  let line = "";
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (line !== "" && indent.length + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one, i) => `${i === 0 ? indent : under}${one}`.trimEnd());
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
