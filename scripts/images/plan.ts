/**
 * What an image's tag is made of. Pure: the callers read files and hash them.
 */
import { createHash } from "node:crypto";
import { LOCAL_REGISTRY } from "./specs.ts";

/** Raised when the way images are built changes so that equal inputs give another image. */
const FORMAT = 1;

/** One file of a build context. */
export interface ContextFile {
  /** Path inside the context, with forward slashes. */
  path: string;
  /** Whether it is executable; no other mode bit counts. */
  executable: boolean;
  /** SHA-256 of its content, hex. */
  sha256: string;
}

/** Everything that decides what an image holds. */
export interface ImageInputs {
  name: string;
  /** Identity of the base image, see base.ts. */
  base: string;
  buildArgs: Record<string, string>;
  /** The context, its Containerfile included, in any order. */
  files: readonly ContextFile[];
}

/** The content hash of an image: the first 12 hex digits, its tag. The order of files and arguments does not matter. */
export function contentTag(inputs: ImageInputs): string {
  const paths = new Set(inputs.files.map((file) => file.path));
  if (paths.size !== inputs.files.length) throw new Error(`image ${inputs.name}: a path is twice in its context`);
  if (!paths.has("Containerfile"))
    throw new Error(`image ${inputs.name}: there is no images/${inputs.name}/Containerfile`);
  const canonical = JSON.stringify([
    FORMAT,
    inputs.name,
    inputs.base,
    Object.entries(inputs.buildArgs).sort(byKey),
    inputs.files.map((file) => [file.path, file.executable, file.sha256] as const).sort(byKey),
  ]);
  return createHash("sha256").update(canonical).digest("hex").slice(0, 12);
}

/** By code unit, not by locale: the same on every machine. */
function byKey(a: readonly [string, ...unknown[]], b: readonly [string, ...unknown[]]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

/** The reference of a local image. */
export function localReference(name: string, tag: string): string {
  return `${LOCAL_REGISTRY}/iam-ha/${name}:${tag}`;
}

/** Name of an image's archive in the cache. */
export function archiveName(name: string, tag: string): string {
  return `${name}-${tag}.tar`;
}

/** How far a build is, from one line of the engine's output (`STEP 3/9: RUN …`); undefined for other lines. */
export function stepOf(line: string): { fraction: number; detail: string } | undefined {
  const match = /^(?:\[\d+\/\d+\] )?STEP (\d+)\/(\d+): (.*)$/.exec(line);
  if (match === null) return undefined;
  const [, step, steps, text = ""] = match;
  const detail = text.replace(/\s+/g, " ").trim();
  // A step is announced when it begins.
  return {
    fraction: (Number(step) - 1) / Number(steps),
    detail: detail.length > 60 ? `${detail.slice(0, 59)}…` : detail,
  };
}
