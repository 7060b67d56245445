import { CannotJudge } from "./stack.ts";

/** A directive of NGINX; one with a block has more of them in it. */
export interface Directive {
  readonly name: string;
  readonly args: readonly string[];
  readonly block: readonly Directive[];
}

/** A block of NGINX's configuration with those around it, the innermost first. */
export interface Scope {
  readonly directive: Directive;
  /** `server 8443 location /api/`. */
  readonly title: string;
  readonly around: Scope | undefined;
}

const TOKEN = /#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|[^\s{};"'#][^\s{};]*/g;

/** A file of NGINX's configuration, with the files that it includes in their places. Files that come from elsewhere are
 *  left out.
 *  @throws CannotJudge where it is not well formed */
export function nginxFile(files: Readonly<Record<string, string>>, file: string): Directive[] {
  const text = files[file];
  if (text === undefined) throw new CannotJudge(`there is no file ${file}`);
  const tokens = (text.match(TOKEN) ?? []).filter((token) => !token.startsWith("#"));
  let at = 0;
  const block = (depth: number): Directive[] => {
    const directives: Directive[] = [];
    let words: string[] = [];
    for (; at < tokens.length; at++) {
      const token = tokens[at]!;
      if (token === "}") {
        if (depth === 0 || words.length > 0) throw new CannotJudge(`${file}: found } where none may be`);
        return directives;
      }
      if (token !== "{" && token !== ";") {
        words.push(token.replace(/^(["'])(.*)\1$/s, "$2"));
        continue;
      }
      const [name, ...args] = words as [string, ...string[]];
      words = [];
      if (token === "{") {
        at++;
        directives.push({ name, args, block: block(depth + 1) });
      } else if (name === "include" && files[args[0]!] !== undefined) directives.push(...nginxFile(files, args[0]!));
      else directives.push({ name, args, block: [] });
    }
    if (depth > 0 || words.length > 0) throw new CannotJudge(`${file}: ends in the middle of a block`);
    return directives;
  };
  return block(0);
}

/** Every block of a configuration, outer ones first. */
export function* scopesOf(directives: readonly Directive[], around?: Scope): Generator<Scope> {
  for (const directive of directives) {
    if (directive.block.length === 0) continue;
    const own =
      directive.name === "server"
        ? `server ${portsOf(directive).join(" ")}`
        : [directive.name, ...directive.args].join(" ");
    const scope = {
      directive,
      title: around && around.directive.name !== "http" ? `${around.title} ${own}` : own,
      around,
    };
    yield scope;
    yield* scopesOf(directive.block, scope);
  }
}

/** Ports on which a server listens. */
export function portsOf(server: Directive): number[] {
  return listensOf(server).map(([address = ""]) => Number(address.split(":").at(-1)));
}

/** The arguments of each `listen` of a server. */
export function listensOf(server: Directive): (readonly string[])[] {
  return server.block.filter(({ name }) => name === "listen").map(({ args }) => args);
}

/** Arguments of a directive as they hold in a block: its own, or those of the next block around that has it. */
export function inherited(scope: Scope | undefined, name: string): readonly string[] | undefined {
  if (scope === undefined) return undefined;
  return scope.directive.block.findLast((one) => one.name === name)?.args ?? inherited(scope.around, name);
}
