import { effectsOn, fieldLines, headOf, summaryOf, verdictOf } from "./describe.ts";
import { EFFECTS, GRAVE } from "./effects/index.ts";
import { isFailed, type RegionPreview, type StackPreview } from "./preview.ts";

/** Previews for a terminal.
 *  @param color whether to use colors */
export function previewText(previews: readonly StackPreview[], color: boolean): string {
  const paint = (code: number, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  return previews
    .map((preview) => {
      const head = paint(1, `${preview.stack}, against ${preview.against}: ${summaryOf(preview)}`);
      return isFailed(preview)
        ? `${head}\n  ${paint(31, preview.error.replaceAll("\n", "\n  "))}`
        : [head, ...regionLines(preview, paint)].join("\n");
    })
    .join("\n\n");
}

const RED = 31;
const GREEN = 32;
const YELLOW = 33;

function regionLines(preview: RegionPreview, paint: (code: number, text: string) => string): string[] {
  const lines: string[] = [];
  for (const change of preview.changes) {
    lines.push("", `  ${headOf(change)}`);
    for (const { kind, reason } of effectsOn(change, preview.effects)) {
      // That nothing that runs is touched goes without saying for what is new.
      if (kind === "nothing" && change.action === "created") continue;
      lines.push(
        `    ${paint(GRAVE.has(kind) ? RED : YELLOW, `${GRAVE.has(kind) ? "!" : "·"} ${EFFECTS[kind]}`)}: ${reason}`,
      );
    }
    for (const { sign, text } of change.fields.flatMap(fieldLines)) {
      const line = `    ${sign} ${text}`;
      lines.push(sign === "+" ? paint(GREEN, line) : sign === "-" ? paint(RED, line) : line);
    }
  }
  const { unsafe, refused, findings, notes, policyError } = preview;
  if (unsafe.length > 0) lines.push("", "  Unsafe changes");
  for (const { message, unlock, unlocked } of unsafe)
    lines.push(
      unlocked ? `    unlocked: ${message}` : paint(RED, `    ! ${message}; \`--unlock ${unlock}\` allows it`),
    );
  if (refused.length > 0) lines.push("", "  The API server refuses");
  for (const { object, message } of refused) lines.push(paint(RED, `    ! ${object}: ${message}`));
  lines.push("", "  Policies");
  if (policyError !== undefined) lines.push(paint(RED, `    ! they could not run: ${policyError}`));
  else if (findings.length === 0) lines.push("    no findings");
  for (const { level, rule, object, message, remediation } of findings) {
    lines.push(
      paint(level === "mandatory" ? RED : YELLOW, `    ${level} ${rule}${object ? `, ${object}` : ""}: ${message}`),
    );
    if (remediation) lines.push(`      ${remediation}`);
  }
  for (const note of notes) lines.push("", `  Note: ${note}`);
  return [...lines, "", `  ${preview.stack} ${verdictOf(preview)}`];
}
