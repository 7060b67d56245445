import { readFileSync } from "node:fs";
import { z } from "zod";
import { SECRET, SIGNATURE, UNKNOWN, unwrap } from "../render/collect.ts";
import { PROJECT } from "../render/stack-config.ts";
import type { JudgedResource, StackResources } from "./findings.ts";

/** Version of the format in which the engine exports a stack. */
const VERSION = 3;

const resourceSchema = z.object({
  urn: z.string().regex(/^urn:pulumi:[^:]+::[^:]+::.+::.+$/, "a URN is expected"),
  type: z.string().min(1),
  custom: z.boolean(),
  parent: z.string().default(""),
  provider: z.string().default(""),
  protect: z.boolean().default(false),
  retainOnDelete: z.boolean().default(false),
  /** On its way out: replaced, and not deleted yet. */
  delete: z.boolean().default(false),
  ignoreChanges: z.array(z.string()).default([]),
  dependencies: z.array(z.string()).nullish(),
  inputs: z.record(z.string(), z.unknown()).default({}),
  outputs: z.record(z.string(), z.unknown()).optional(),
});

const stateSchema = z.object({
  version: z.literal(VERSION),
  deployment: z.object({ resources: z.array(resourceSchema).min(1, "the stack has no resources: nothing to judge") }),
});

/** Reads what `pulumi stack export` writes. Secrets that are encrypted are values that are not known.
 *  @throws Error with every problem: path, what was found, what is expected. Values are not shown, they may be secret */
export function readState(file: string): StackResources {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    // The parser's own message would show a part of the file.
    const why = error instanceof SyntaxError ? "is no JSON" : (error as Error).message;
    // eslint-disable-next-line preserve-caught-error -- see above
    throw new Error(`state file ${file}: ${why}; write it with \`pulumi stack export\``);
  }
  const result = stateSchema.safeParse(value, { reportInput: true });
  if (!result.success) {
    const problems = result.error.issues.map(
      (issue) =>
        `state file ${file}: ${issue.path.join(".") || "the file"}: found ${kindOf(issue.input)}; ${issue.message.replace(/^Invalid input: /, "")}`,
    );
    throw new Error([...problems.slice(0, 10), "write it with `pulumi stack export`"].join("\n"));
  }
  const resources = result.data.deployment.resources.filter((resource) => !resource.delete);
  const read = resources.map(toResource);
  const encrypted = read.reduce((sum, resource) => sum + encryptedIn(resource), 0);
  return { name: stackOf(file, resources), resources: read, deployed: true, encrypted };
}

/** Every resource is of one stack of this project: rules for another one would find nothing to judge. */
function stackOf(file: string, resources: readonly { urn: string }[]): string {
  const stacks = new Set<string>();
  for (const { urn } of resources) {
    const [head, project] = urn.split("::");
    if (project !== PROJECT)
      throw new Error(`state file ${file}: found a resource of the project ${project}; the policies are of ${PROJECT}`);
    stacks.add(head!.slice("urn:pulumi:".length));
  }
  const [name, ...others] = [...stacks];
  if (name === undefined) throw new Error(`state file ${file}: every resource is to be deleted: nothing to judge`);
  if (others.length > 0)
    throw new Error(`state file ${file}: found resources of the stacks ${[...stacks].join(", ")}; one is expected`);
  return name;
}

function toResource(state: z.output<typeof resourceSchema>): JudgedResource {
  const { urn, type, custom, parent, provider, protect, retainOnDelete, ignoreChanges, dependencies } = state;
  const inputs = inPlain(state.inputs);
  return {
    urn,
    type,
    name: urn.slice(urn.lastIndexOf("::") + 2),
    custom,
    parent,
    provider,
    protect,
    retainOnDelete,
    ignoreChanges,
    dependencies: dependencies ?? [],
    inputs: inputs.values,
    secretPaths: inputs.secretPaths,
    ...(state.outputs ? { outputs: inPlain(state.outputs) } : {}),
  };
}

/** Secret inputs whose value is not known. */
function encryptedIn({ inputs, secretPaths }: JudgedResource): number {
  const at = (path: readonly string[]) =>
    path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], inputs);
  return secretPaths.filter((path) => at(path) === UNKNOWN).length;
}

function inPlain(props: Record<string, unknown>): NonNullable<JudgedResource["outputs"]> {
  const secretPaths: string[][] = [];
  return { values: unwrap(opened(props), [], secretPaths) as Record<string, unknown>, secretPaths };
}

/** The wire format's secrets in place of those of a state file. */
function opened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(opened);
  if (typeof value !== "object" || value === null) return value;
  const record = value as Record<string, unknown>;
  if (record[SIGNATURE] === SECRET && !("value" in record)) {
    const { plaintext } = record;
    return { [SIGNATURE]: SECRET, value: typeof plaintext === "string" ? opened(parsed(plaintext)) : UNKNOWN };
  }
  return Object.fromEntries(Object.entries(record).map(([key, item]) => [key, opened(item)]));
}

/** A plaintext is JSON. One that is not is a value that nobody knows. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return UNKNOWN;
  }
}

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : "a text";
}
