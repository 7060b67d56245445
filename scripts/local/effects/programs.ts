import { join } from "node:path";
import type { Programs } from "../plan/configs.ts";
import { buildGo, isBuilt, type BuildOptions, type GoModule } from "./gobuild.ts";
import { programArchive, type ImageArchive } from "./images.ts";
import { ensurePackages, SYSTEM_PATH } from "./packages.ts";

const MODULES = join(import.meta.dirname, "..");

/** What `kubectl version` tells, and what programs decide on: without it they take themselves for v0.0.0. */
function kubernetesVersion(goMod: string): Record<string, string> {
  const [, version, major, minor] = /\bk8s\.io\/kubernetes (v(\d+)\.(\d+)\.\d+)/.exec(goMod) ?? [];
  if (version === undefined) throw new Error("go.mod of the Kubernetes program names no version of k8s.io/kubernetes.");
  const at = "k8s.io/component-base/version";
  return { [`${at}.gitVersion`]: version, [`${at}.gitMajor`]: major!, [`${at}.gitMinor`]: minor! };
}

const HOSTKIT: GoModule = { name: "hostkit", source: join(MODULES, "hostkit") };
const KUBE: GoModule = {
  name: "kube",
  source: join(MODULES, "kube"),
  links: [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "volume-provisioner",
    "network-policy",
  ],
  variables: kubernetesVersion,
};
const COREDNS: GoModule = { name: "coredns", source: join(MODULES, "coredns") };

export interface Toolbox {
  readonly programs: Programs;
  readonly pause: ImageArchive;
  readonly coredns: ImageArchive;
}

/** Builds and fetches all programs that are not in the cache yet; minutes the first time, milliseconds afterwards. */
export async function ensurePrograms(
  options: BuildOptions & { readonly debian: string; readonly onPackages?: (detail: string) => void },
): Promise<Toolbox> {
  const packages = ensurePackages({
    cache: options.cache,
    debian: options.debian,
    signal: options.signal,
    onProgress: options.onPackages,
  });
  packages.catch(() => {}); // awaited below; a failed build must not leave this one unheard
  // One after the other: each build uses all cores by itself.
  const hostkit = await buildGo(HOSTKIT, options);
  const kube = await buildGo(KUBE, options);
  const coredns = await buildGo(COREDNS, options);
  const debian = await packages;
  return {
    programs: {
      kube,
      hostkit: join(hostkit, "hostkit"),
      containerd: join(debian, "usr/bin/containerd"),
      ctr: join(debian, "usr/bin/ctr"),
      etcd: join(debian, "usr/bin/etcd"),
      path: [join(debian, "usr/bin"), join(debian, "usr/sbin"), ...SYSTEM_PATH],
      cniPlugins: join(debian, "usr/lib/cni"),
    },
    pause: await programArchive({ cache: options.cache, name: "pause", build: hostkit, path: "/hostkit" }),
    coredns: await programArchive({ cache: options.cache, name: "coredns", build: coredns, path: "/coredns" }),
  };
}

/** Whether `ensurePrograms` would find all builds in the cache. */
export async function programsAreBuilt(cache: string, goVersion: string | undefined): Promise<boolean> {
  if (goVersion === undefined) return false;
  const built = await Promise.all([HOSTKIT, KUBE, COREDNS].map((module) => isBuilt(module, cache, goVersion)));
  return built.every(Boolean);
}
