import { effectsOn, fieldLines, headOf, summaryOf, verdictOf } from "./describe.ts";
import type { ObjectChange } from "./diff.ts";
import { byGravity, EFFECTS, GRAVE, type Effect } from "./effects/index.ts";
import { isFailed, isUnsafe, type PolicyFinding, type RegionPreview, type StackPreview } from "./preview.ts";

/** GitHub takes 65536 characters a comment; some are left for whoever adds to it. */
export const LONGEST_COMMENT = 60_000;
/** One object's lines at most: one that changes all over must not push out the others. */
const LONGEST_OBJECT = 6_000;
/** Rows of a table at most. */
const MOST_ROWS = 40;

/** First line of a stack's comment, by which the next run finds it and edits it in place. */
export function commentMarker(stack: string): string {
  return `<!-- iam-ha preview ${stack} -->`;
}

/** Previews for a comment on a pull request: a summary, what must not be overlooked, policies; the details folded. Never
 *  over the limit, and what is left out is said.
 *  @param limit characters at most, for all stacks together; at least 4000 for each */
export function previewMarkdown(previews: readonly StackPreview[], limit = LONGEST_COMMENT): string {
  const each = Math.floor(limit / Math.max(1, previews.length)) - 1;
  return previews.map((preview) => stackMarkdown(preview, each)).join("\n");
}

function stackMarkdown(preview: StackPreview, limit: number): string {
  const head = [
    commentMarker(preview.stack),
    `### ${iconOf(preview)} ${preview.stack}: ${summaryOf(preview)}`,
    "",
    `Against ${code(preview.against)}.${isFailed(preview) ? "" : ` It ${verdictOf(preview)}.`}`,
    "",
  ];
  if (isFailed(preview)) {
    const lines = [
      ...head,
      "> [!CAUTION]",
      "> Nothing is known of this region: this does not mean that nothing would change.",
      "",
      ...fence("text", excerpt(preview.error)),
    ];
    return cutTo(lines.join("\n"), limit);
  }
  const before = [
    ...head,
    ...warnings(preview),
    ...effectTable(preview.effects),
    ...policies(preview),
    ...preview.notes.map((note) => `\n_${plain(note)}_`),
    "",
  ].join("\n");
  // The most important comes first, so if even this is too long its end goes.
  if (before.length > limit - 400) return cutTo(before, limit);
  return `${before}${details(preview, limit - before.length)}`;
}

function iconOf(preview: StackPreview): string {
  if (isFailed(preview) || preview.policyError !== undefined) return "❌";
  if (isUnsafe(preview)) return "⛔";
  return preview.effects.some(({ kind }) => GRAVE.has(kind)) ? "⚠️" : "✅";
}

function warnings({ unsafe, refused }: RegionPreview): string[] {
  const locked = unsafe.filter(({ unlocked }) => !unlocked);
  const open = unsafe.filter(({ unlocked }) => unlocked);
  const lines = [
    ...locked.map(({ message, unlock }) => `${plain(message)}; ${code(`--unlock ${unlock}`)} allows it`),
    ...refused.map(({ object, message }) => `The API server refuses ${code(object)}: ${plain(message)}`),
  ];
  return [
    ...(lines.length > 0 ? ["> [!CAUTION]", ...rows(lines).map((line) => `> - ${line}`), ""] : []),
    ...(open.length > 0
      ? [
          "> [!WARNING]",
          ...rows(open.map(({ message }) => `Unlocked: ${plain(message)}`)).map((line) => `> - ${line}`),
          "",
        ]
      : []),
  ];
}

function effectTable(effects: readonly Effect[]): string[] {
  const shown = byGravity(effects).filter(({ kind }) => kind !== "nothing");
  if (shown.length === 0) return [];
  const lines = shown.map(
    ({ kind, object, reason }) =>
      `| ${GRAVE.has(kind) ? `**${EFFECTS[kind]}**` : EFFECTS[kind]} | ${code(object)} | ${plain(reason)} |`,
  );
  return ["| Effect | Object | Why |", "| --- | --- | --- |", ...rows(lines, (left) => `| … | | ${left} more |`), ""];
}

function policies({ findings, policyError }: RegionPreview): string[] {
  if (policyError !== undefined)
    return ["**Policies could not run**, so they do not count as passed:", "", ...fence("text", excerpt(policyError))];
  if (findings.length === 0) return ["Policies: no findings.", ""];
  const mandatory = findings.filter(({ level }) => level === "mandatory").length;
  const counts = [
    mandatory > 0 ? `**${mandatory} violated**` : "",
    findings.length > mandatory ? `${findings.length - mandatory} advisory` : "",
  ];
  return [`Policies: ${counts.filter(Boolean).join(", ")}.`, "", ...rows(findings.map(findingLine)), ""];
}

function findingLine({ level, rule, object, message, remediation, url }: PolicyFinding): string {
  const name = url !== undefined && /^https:\/\//.test(url) ? `[${plain(rule)}](${encodeURI(url)})` : code(rule);
  return `- ${level} ${name}${object ? ` ${code(object)}` : ""}: ${plain(message)}${remediation ? ` _${plain(remediation)}_` : ""}`;
}

/** Each object's fields, folded; those with the gravest effects first, so that what is left out matters least. */
function details({ changes, effects }: RegionPreview, limit: number): string {
  if (changes.length === 0) return "";
  const gravity = (change: ObjectChange) => byGravity(effects).indexOf(byGravity(effectsOn(change, effects))[0]!);
  const open = `<details><summary>${changes.length} object${changes.length === 1 ? "" : "s"}, field by field</summary>\n\n`;
  const close = "\n</details>\n";
  const room = limit - open.length - close.length - 300;
  const parts: string[] = [];
  const left: string[] = [];
  let used = 0;
  for (const change of [...changes].sort((a, b) => gravity(a) - gravity(b))) {
    const part = objectPart(change);
    if (used + part.length + 1 > room) left.push(headOf(change));
    else {
      parts.push(part);
      used += part.length + 1;
    }
  }
  const note =
    left.length === 0
      ? ""
      : cutTo(
          `\n${left.length} more object${left.length === 1 ? " is" : "s are"} left out, as a comment has its limit: ${left.map((head) => code(head)).join(", ")}`,
          250,
        ) + "\n";
  return `${open}${parts.join("\n")}${note}${close}`;
}

function objectPart(change: ObjectChange): string {
  const lines = change.fields.flatMap(fieldLines).map(({ sign, text }) => `${sign} ${text}`);
  const kept: string[] = [];
  let length = 0;
  for (const line of lines) {
    if (length + line.length > LONGEST_OBJECT) break;
    kept.push(line);
    length += line.length + 1;
  }
  if (kept.length < lines.length) kept.push(`# ${lines.length - kept.length} more lines are left out`);
  return `${code(headOf(change))}\n${kept.length === 0 ? "" : `\n${fence("diff", kept).join("\n")}`}`;
}

/** The beginning of an error, in lines. */
function excerpt(text: string): string[] {
  return (text.length <= 2_000 ? text : `${text.slice(0, 2_000)}…`).split("\n");
}

/** A fence longer than any in the text. */
function fence(language: string, lines: readonly string[]): string[] {
  const longest = Math.max(
    2,
    ...lines.map((line) => Math.max(0, ...[...line.matchAll(/`+/g)].map(([run]) => run.length))),
  );
  const mark = "`".repeat(longest + 1);
  return [`${mark}${language}`, ...lines, mark, ""];
}

function rows(lines: readonly string[], more: (left: number) => string = (left) => `- … ${left} more`): string[] {
  return lines.length <= MOST_ROWS ? [...lines] : [...lines.slice(0, MOST_ROWS), more(lines.length - MOST_ROWS)];
}

/** Text that Markdown shows as it is: no tags, no mentions, no table's borders. */
function plain(text: string): string {
  const short = text.length <= 1_000 ? text : `${text.slice(0, 1_000)}…`;
  return short
    .replaceAll(/\s+/g, " ")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll(/[|*_[\]\\~]/g, (sign) => `\\${sign}`)
    .replaceAll("@", "@\u200b");
}

function code(text: string): string {
  return `\`${text.replaceAll("`", "'").replaceAll(/\s+/g, " ").replaceAll("|", "\\|")}\``;
}

/** The beginning of a text, with a word on what is left out. An open fold or fence would swallow whatever follows, so
 *  this is for texts whose end has neither, and for errors. */
function cutTo(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const note = "\n\n… the rest is left out, as a comment has its limit";
  return `${text.slice(0, Math.max(0, limit - note.length))}${note}`;
}
