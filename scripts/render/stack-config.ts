import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { SECRET_KEYS } from "../../stacks/config.ts";
import { ROOT } from "../paths.ts";

/** Name of the project, which stands before every key of its config. */
export const PROJECT = "iam-ha";
export type ConfigTree = Record<string, unknown>;

/** The stack's config as the engine would hand it to the program. */
export interface StackConfigText {
  readonly config: Record<string, string>;
  readonly secretKeys: readonly string[];
}

/** Config of one stack: defaults of Pulumi.yaml, then Pulumi.<stack>.yaml, then the overlays in their order. Objects in
 *  overlays are merged key by key; the engine itself takes a stack's object whole.
 *  @throws Error when the stack's file is missing or holds encrypted values, which only the engine can read */
export function readStackConfig(stack: string, overlays: readonly ConfigTree[] = [], root = ROOT): StackConfigText {
  const merged = readStackTree(stack, overlays, root);
  return {
    config: Object.fromEntries(Object.entries(merged).map(([key, value]) => [`${PROJECT}:${key}`, toText(value)])),
    secretKeys: SECRET_KEYS.map((key) => `${PROJECT}:${key}`),
  };
}

/** The same, as a tree of values by key, without the project's prefix. */
export function readStackTree(stack: string, overlays: readonly ConfigTree[] = [], root = ROOT): ConfigTree {
  const file = join(root, `Pulumi.${stack}.yaml`);
  if (!existsSync(file))
    throw new Error(`there is no Pulumi.${stack}.yaml: known stacks are the Pulumi.<region>.yaml files`);
  const merged = overlays.reduce<ConfigTree>((tree, overlay) => mergeTrees(tree, overlay), {
    ...projectDefaults(root),
    ...unprefixed(readYaml(file)["config"], file),
  });
  const encrypted = findEncrypted(merged);
  if (encrypted) {
    throw new Error(
      `${PROJECT}:${encrypted} in Pulumi.${stack}.yaml is encrypted: only the Pulumi engine can read it. Use \`pulumi\`, or leave it out here`,
    );
  }
  return merged;
}

/** Objects are merged key by key, everything else is replaced; neither argument is changed. */
export function mergeTrees(base: ConfigTree, over: ConfigTree): ConfigTree {
  const merged: ConfigTree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = merged[key];
    merged[key] = isTree(old) && isTree(value) ? mergeTrees(old, value) : value;
  }
  return merged;
}

function isTree(value: unknown): value is ConfigTree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function projectDefaults(root: string): ConfigTree {
  const declared = unprefixed(readYaml(join(root, "Pulumi.yaml"))["config"], "Pulumi.yaml");
  return Object.fromEntries(
    Object.entries(declared)
      .filter(([, entry]) => isTree(entry) && "default" in entry)
      .map(([key, entry]) => [key, (entry as ConfigTree)["default"]]),
  );
}

function readYaml(file: string): ConfigTree {
  const tree: unknown = parse(readFileSync(file, "utf8"));
  if (!isTree(tree)) throw new Error(`${file}: must be a YAML mapping`);
  return tree;
}

function unprefixed(config: unknown, file: string): ConfigTree {
  if (config === undefined || config === null) return {};
  if (!isTree(config)) throw new Error(`${file}: config must be a mapping`);
  return Object.fromEntries(
    Object.entries(config)
      .filter(([key]) => key.startsWith(`${PROJECT}:`))
      .map(([key, value]) => [key.slice(PROJECT.length + 1), value]),
  );
}

function findEncrypted(tree: ConfigTree): string | undefined {
  for (const [key, value] of Object.entries(tree)) {
    if (!isTree(value)) continue;
    if (typeof value["secure"] === "string") return key;
    const inner = findEncrypted(value);
    if (inner) return `${key}.${inner}`;
  }
  return undefined;
}

function toText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
