import { containersOf, podOf } from "../../facts/pods.ts";
import { resourceRule } from "../../rule.ts";

export const pinnedImages = resourceRule({
  name: "pinned-images",
  description: "Every image names its registry, and a tag other than latest or a digest.",
  severity: "high",
  why: "What an image without a tag is changes while nobody looks: two pods of one set run different programs, and nothing can be rolled back. Without a registry the node decides where it comes from.",
  remediation:
    "Set iam-ha:images (registry, tag, overrides) to full references, such as registry.example.com/iam-ha/edge:0.1.0.",
  check({ resource, report }) {
    const pod = podOf(resource);
    if (!pod) return;
    for (const { path, container } of containersOf(pod)) {
      const image = String(container.image);
      const { registry, tag, digest } = partsOf(image);
      if (registry === undefined) report(`${path}.image: found ${image}, which names no registry; it must name one`);
      if (digest !== undefined ? !/^sha256:[0-9a-f]{64}$/.test(digest) : tag === undefined || tag === "latest")
        report(`${path}.image: found ${image}; it must have a tag other than latest, or a digest`);
    }
  },
});

/** The parts of an image reference. The first segment is a registry where it looks like a host. */
function partsOf(image: string): Record<"registry" | "tag" | "digest", string | undefined> {
  const [name, digest] = image.split("@") as [string, string | undefined];
  const segments = name.split("/");
  const first = segments[0]!;
  const registry = segments.length > 1 && (/[.:]/.test(first) || first === "localhost") ? first : undefined;
  return { registry, tag: segments.at(-1)!.split(":")[1], digest };
}
