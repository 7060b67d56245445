import { createHmac } from "node:crypto";
import type { RegionConfig } from "./region-config.ts";
import type { Problem } from "./region-status.ts";

const LABEL = "iam-ha shared secret, version 1";

/** Something by which two regions see whether a secret of theirs is the same one, without telling it: 48 bits of
 *  HMAC-SHA-256 under the secret, of a fixed label and the secret's name. */
export function fingerprint(name: string, secret: string): string {
  return createHmac("sha256", secret).update(`${LABEL}\0${name}`).digest("hex").slice(0, 12);
}

/** Name under which the fingerprint of what regions must configure alike is told. */
export const TOPOLOGY = "config:regions";

/** Fingerprint of configuration that must be the same everywhere, whatever the order of its keys. */
export function topologyFingerprint(config: Pick<RegionConfig, "regions" | "links">): string {
  const regions = Object.entries(config.regions)
    .map(([name, { priority, initiallyActive, slot }]) => [name, priority, initiallyActive, slot])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  const links = config.links.map((link) => JSON.stringify(Object.entries(link).sort())).sort();
  return fingerprint(TOPOLOGY, JSON.stringify([regions, links]));
}

/** Secrets that this region and another one both have, and differently. */
export function secretProblems(
  region: string,
  own: Readonly<Record<string, string>>,
  peers: Readonly<Record<string, Readonly<Record<string, string>>>>,
): Problem[] {
  return Object.entries(peers).flatMap(([peer, theirs]) =>
    Object.keys(own)
      .filter((name) => theirs[name] !== undefined && theirs[name] !== own[name])
      .map((name) => {
        const subject = `${peer}/${name}`;
        if (name === TOPOLOGY)
          return {
            kind: "config-differs",
            subject,
            message: `${region} and ${peer} do not agree on the regions (priorities, which is active at first) or their links: give both stacks the same iam-ha:regions and iam-ha:links`,
          };
        return {
          kind: "secret-differs",
          subject,
          message: `the shared secret ${name} of ${region} is not that of ${peer}: give both stacks the same iam-ha:secrets.${name}`,
        };
      }),
  );
}
