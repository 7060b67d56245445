import { REGIONS } from "../arguments.ts";
import { loadDeployment, type DeployedRegion } from "../deployment.ts";
import { listImages } from "../images/index.ts";
import { overlaysForShow } from "../local/values/show.ts";
import type { RegisteredResource } from "../render/collect.ts";
import { kubernetesObjects, maskedObjects } from "../render/objects.ts";
import { RandomState } from "../render/random-state.ts";
import { renderStack } from "../render/render.ts";
import { accessTo } from "../start/access.ts";
import { clusterPlaces } from "../start/contexts.ts";
import { randomFile } from "../start/folders.ts";
import { applySet, overlaysFor } from "../start/render-place.ts";
import { clusterOf } from "./cluster.ts";
import { againstCluster, MADE_ELSEWHERE } from "./live.ts";
import type { Comparison } from "./preview.ts";
import { againstRevision } from "./revision.ts";
import { secretsOf } from "./secrets.ts";

/** A stack as the program makes it now, and how to hold it against what is there. */
export interface Candidate {
  readonly stack: string;
  readonly against: string;
  /** Whether it is rendered for an embedded cluster, for which the policies have a configuration of their own. */
  readonly embedded: boolean;
  /** Registered by the program; they hold secrets. */
  readonly resources: readonly RegisteredResource[];
  readonly compare: () => Promise<Comparison>;
}

/** A region that could not even be rendered, or is not there. */
export interface NoCandidate {
  readonly stack: string;
  readonly against: string;
  readonly error: string;
}

export interface LiveOptions {
  readonly instance: string;
  readonly regions?: readonly string[] | undefined;
  /** Clusters of the user's own, by region; default: what the instance runs in. */
  readonly contexts?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
}

/** Regions as `start` would apply them, to be held against their clusters. One is rendered after the other: the program
 *  runs in this process.
 *  @throws Error when there is no cluster to ask */
export async function liveCandidates(options: LiveOptions): Promise<(Candidate | NoCandidate)[]> {
  const { instance, contexts } = options;
  const places = contexts ? clusterPlaces(contexts) : loadDeployment(instance).regions;
  if (places.length === 0)
    throw new Error(
      `nothing runs in instance ${instance}: \`npm start\` brings it up, --contexts names clusters of your own, and --against <revision> compares with a commit`,
    );
  const candidates: (Candidate | NoCandidate)[] = [];
  for (const stack of options.regions ?? places.map(({ region }) => region)) {
    const place = places.find(({ region }) => region === stack);
    options.signal.throwIfAborted();
    candidates.push(
      place
        ? await attempt(stack, `cluster ${place.context}`, () => liveCandidate(place, options))
        : {
            stack,
            against: "its cluster",
            error: `${stack} is not running${contexts ? " in a context that is named" : ` in instance ${instance}`}`,
          },
    );
  }
  return candidates;
}

async function liveCandidate(place: DeployedRegion, { instance, signal }: LiveOptions): Promise<Candidate> {
  const images = place.embedded ? await listImages() : [];
  if (!images)
    throw new Error(
      "no image was ever built here, so it is not known which the pods would run: `npm start` builds them",
    );
  const random = new RandomState(randomFile(instance, place.region));
  const { resources } = await renderStack(place.region, {
    overlays: await overlaysFor(instance, images, place),
    // What would be made now is not made: a preview leaves nothing behind.
    compute: (type, name) =>
      type.startsWith("random:") ? (random.known(type, name) ?? { result: MADE_ELSEWHERE }) : undefined,
  });
  const against = `cluster ${place.context}`;
  const secrets = secretsOf(resources);
  return {
    stack: place.region,
    against,
    embedded: place.embedded,
    resources,
    compare: async () => {
      try {
        return await againstCluster(clusterOf(accessTo(place), signal), kubernetesObjects(resources), {
          against,
          region: place.region,
          secrets,
          record: applySet(place),
        });
      } catch (error) {
        throw new Error(secrets.masked(error instanceof Error ? error.message : String(error)), { cause: error });
      }
    },
  };
}

/** Regions as they are in production, to be held against a revision's goldens. */
export async function revisionCandidates(
  revision: string,
  { regions = REGIONS, signal }: { readonly regions?: readonly string[] | undefined; readonly signal: AbortSignal },
): Promise<(Candidate | NoCandidate)[]> {
  const candidates: (Candidate | NoCandidate)[] = [];
  for (const stack of regions) {
    signal.throwIfAborted();
    candidates.push(
      await attempt(stack, revision, async () => {
        const { resources } = await renderStack(stack, {
          overlays: overlaysForShow(stack, { embedded: false }),
          compute: (type) => (type.startsWith("random:") ? { result: "(made at random)" } : undefined),
        });
        const compare = () => againstRevision(stack, revision, maskedObjects(resources), { signal });
        return { stack, against: revision, embedded: false, resources, compare };
      }),
    );
  }
  return candidates;
}

async function attempt(
  stack: string,
  against: string,
  make: () => Promise<Candidate>,
): Promise<Candidate | NoCandidate> {
  try {
    return await make();
  } catch (error) {
    return { stack, against, error: error instanceof Error ? error.message : String(error) };
  }
}
