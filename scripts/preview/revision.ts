import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { ROOT } from "../paths.ts";
import { goldenFile } from "../render/goldens.ts";
import type { KubernetesObject } from "../render/objects.ts";
import type { Comparison } from "./preview.ts";
import { KnownSecrets } from "./secrets.ts";

const run = promisify(execFile);
const OPTIONS = { timeout: 30_000, maxBuffer: 64 * 1024 * 1024 };

/** What a region's golden was at a revision of the project, against what is rendered now. Both are masked: that a secret
 *  has changed is not seen here.
 *  @param rendered objects of now, masked
 *  @throws Error when there is no such revision, or its golden cannot be read */
export async function againstRevision(
  stack: string,
  revision: string,
  rendered: readonly KubernetesObject[],
  { root = ROOT, signal }: { readonly root?: string; readonly signal?: AbortSignal } = {},
): Promise<Comparison> {
  const options = { ...OPTIONS, cwd: root, ...(signal ? { signal } : {}) };
  // A revision must not be taken for an option.
  if (revision.startsWith("-") || revision.includes(":"))
    throw new Error(`--against: found "${revision}", which is no revision; give a branch, a tag or a commit`);
  const commit = await git(
    ["rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`],
    options,
  ).catch((error: Error) => {
    throw new Error(`--against: there is no revision "${revision}" in this repository (${error.message})`);
  });
  const file = goldenFile({ region: stack, embedded: false });
  const listed = await git(["ls-tree", "--name-only", commit, "--", file], options);
  const notes: string[] = [];
  if (listed === "") notes.push(`${revision} has no ${file}: everything counts as new`);
  const before =
    listed === "" ? [] : parseObjects(await git(["show", `${commit}:${file}`], options), `${revision}:${file}`);
  return {
    against: `${revision} (${commit.slice(0, 10)})`,
    before,
    after: rendered,
    secrets: new KnownSecrets(),
    refused: [],
    notes,
  };
}

/** Objects of a text of YAML documents.
 *  @throws Error with the place of what cannot be read: a text that is cut off must not count as few objects */
export function parseObjects(text: string, name: string): KubernetesObject[] {
  return parseAllDocuments(text).map((document, i) => {
    const [problem] = document.errors;
    if (problem) throw new Error(`${name}, document ${i + 1}: ${problem.message.split("\n")[0]}`);
    const object = document.toJS() as Partial<KubernetesObject> | null;
    if (
      typeof object?.apiVersion !== "string" ||
      typeof object.kind !== "string" ||
      typeof object.metadata?.name !== "string"
    )
      throw new Error(`${name}, document ${i + 1}: found no Kubernetes object (apiVersion, kind, metadata.name)`);
    return object as KubernetesObject;
  });
}

async function git(
  args: readonly string[],
  options: typeof OPTIONS & { cwd: string; signal?: AbortSignal },
): Promise<string> {
  try {
    return (await run("git", [...args], options)).stdout.trimEnd();
  } catch (error) {
    const { stderr, message, code } = error as { stderr?: string; message: string; code?: unknown };
    if (code === "ENOENT") throw new Error("git is not installed", { cause: error });
    throw new Error(stderr?.trim() || message.split("\n")[0]!, { cause: error });
  }
}
