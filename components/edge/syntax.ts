/** A directive of NGINX, with a block where it takes one; or a comment. */
export type Node = Directive | Comment;
export interface Directive {
  readonly name: string;
  readonly args: readonly string[];
  readonly block?: readonly Node[];
}
export interface Comment {
  readonly comment: string;
}

/** `name arg arg;` */
export function d(name: string, ...args: (string | number)[]): Directive {
  return { name, args: args.map(String) };
}

/** `name arg { … }` */
export function block(name: string, args: readonly (string | number)[], nodes: readonly Node[]): Directive {
  return { name, args: args.map(String), block: nodes };
}

export function comment(text: string): Comment {
  return { comment: text };
}

/** A text in which NGINX shall see no variable.
 *  @throws RangeError where it holds `$`, for which NGINX has no escape */
export function literal(text: string): string {
  if (text.includes("$")) throw new RangeError(`"${text}" holds '$', which would start a variable of NGINX`);
  return text;
}

/** The text of a configuration file. Arguments are quoted where they must be, so no argument can end its directive.
 *  @throws RangeError on control characters; a line's end in an argument is written as NGINX reads it, `\n` */
export function print(nodes: readonly Node[], depth = 0): string {
  const indent = "    ".repeat(depth);
  return nodes.map((node) => `${indent}${printNode(node, depth)}\n`).join("");
}

function printNode(node: Node, depth: number): string {
  if ("comment" in node) {
    refuseControl(node.comment);
    return `# ${node.comment}`;
  }
  // The keys of a map block stand where other blocks have directives: they are quoted as arguments are.
  const words = [node.name, ...node.args].map(quote).join(" ");
  return node.block ? `${words} {\n${print(node.block, depth + 1)}${"    ".repeat(depth)}}` : `${words};`;
}

/** What NGINX reads as one word without quotes. `~` and `=` before a location, `$` of variables and so on are among it;
 *  braces, quotes, semicolons, blanks, '#' and backslashes are not. */
const PLAIN = /^[A-Za-z0-9_$.:,/=~^*@|()[\]?<>!&%+-]+$/;

function quote(word: string): string {
  refuseControl(word.replaceAll("\n", ""));
  if (PLAIN.test(word)) return word;
  const mark = word.includes('"') && !word.includes("'") ? "'" : '"';
  return mark + word.replaceAll("\\", "\\\\").replaceAll(mark, `\\${mark}`).replaceAll("\n", "\\n") + mark;
}

function refuseControl(text: string): void {
  // eslint-disable-next-line no-control-regex
  if (/[\x00-\x1f\x7f]/.test(text))
    throw new RangeError(`control characters cannot stand in an NGINX configuration: ${JSON.stringify(text)}`);
}

/** Every directive of a tree with the names of the blocks around it, outermost first. */
export function* walk(
  nodes: readonly Node[],
  around: readonly Directive[] = [],
): Generator<{ directive: Directive; around: readonly Directive[] }> {
  for (const node of nodes) {
    if ("comment" in node) continue;
    yield { directive: node, around };
    if (node.block) yield* walk(node.block, [...around, node]);
  }
}
