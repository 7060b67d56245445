/**
 * What each image is built from: plain data. The names are those of `components/common/images.ts`.
 */
import type { ImageName } from "../../components/common/images.ts";

/** One image: its Containerfile is `images/<name>/Containerfile`, its context the folder that holds it. */
export interface ImageSpec {
  name: ImageName;
  /** What the image holds, for progress and lists. */
  holds: string;
  /** Whether the context also gets `dist/`: the Node.js runtime and our bundled programs. */
  bundles: boolean;
  /** Values for the ARGs of the Containerfile that its own defaults do not decide. */
  buildArgs: Record<string, string>;
}

/** In the order they are built: what others wait for first, the longest last. */
export const IMAGES: readonly ImageSpec[] = [
  { name: "edge", holds: "NGINX", bundles: false, buildArgs: {} },
  { name: "redis", holds: "Redis", bundles: false, buildArgs: {} },
  { name: "witness", holds: "etcd", bundles: false, buildArgs: {} },
  { name: "pgbouncer", holds: "PgBouncer and HAProxy", bundles: false, buildArgs: {} },
  { name: "node", holds: "Node.js and this project's programs", bundles: true, buildArgs: {} },
  { name: "postgres", holds: "PostgreSQL, Patroni and pgBackRest", bundles: false, buildArgs: {} },
];

/** The Debian release the base image is made of. */
export const BASE_SUITE = "trixie";

/**
 * Time stamp of everything in the images, in seconds since 1970 (2026-01-01T00:00:00Z): one constant, so that equal
 * inputs give equal layers. It is also the default of the Containerfiles' ARG of this name.
 */
export const SOURCE_DATE_EPOCH = 1_767_225_600;

/** Registry part of local references; no registry is asked for them. */
export const LOCAL_REGISTRY = "localhost";

/** The specs named, in build order; every one without names. Unknown names are an error that lists the known ones. */
export function selectSpecs(names?: readonly string[]): ImageSpec[] {
  if (names === undefined || names.length === 0) return [...IMAGES];
  const unknown = names.filter((name) => !IMAGES.some((spec) => spec.name === name));
  if (unknown.length > 0) {
    throw new Error(
      `unknown image ${unknown.join(", ")}: write one or more of ${IMAGES.map((spec) => spec.name).join(", ")}`,
    );
  }
  return IMAGES.filter((spec) => names.includes(spec.name));
}
