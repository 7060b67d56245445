import { COMPONENTS } from "../../components/common/names.ts";
import { fileIn, type Resource } from "./stack.ts";

const FILE = "haproxy.cfg";

/** A section of HAProxy's configuration: its lines, each as words. */
export interface ProxySection {
  /** `frontend`, `backend`, `defaults`, `global`, `resolvers`, … */
  readonly kind: string;
  readonly name: string;
  readonly lines: readonly (readonly string[])[];
}

/** HAProxy's configuration in a resource, in sections; undefined for any other resource. */
export function haproxyIn(resource: Resource): ProxySection[] | undefined {
  const text = fileIn(resource, COMPONENTS.pooler, FILE);
  return text === undefined ? undefined : sectionsOf(text);
}

function sectionsOf(text: string): ProxySection[] {
  const sections: { kind: string; name: string; lines: string[][] }[] = [];
  for (const line of text.split("\n")) {
    const words = line.replace(/(^|\s)#.*$/, "").match(/"[^"]*"|\S+/g);
    if (!words) continue;
    // A section's name begins the line; what is in it is indented, by this program and by custom.
    if (!/^\s/.test(line)) sections.push({ kind: words[0], name: words[1] ?? "", lines: [] });
    else sections.at(-1)?.lines.push(words);
  }
  return sections;
}

/** The lines of a section that begin with a word, without it. */
export function linesOf(section: ProxySection, keyword: string): string[][] {
  return section.lines.filter(([first]) => first === keyword).map((words) => words.slice(1));
}

/** The word after an option, among a server's words; undefined when it is not there. */
export function optionOf(words: readonly string[], option: string): string | undefined {
  const at = words.lastIndexOf(option);
  return at < 0 ? undefined : words[at + 1];
}
