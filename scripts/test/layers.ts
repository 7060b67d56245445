/** One layer of the tests: a set of mocha files, and what must be there before them. */
export interface Layer {
  readonly name: string;
  readonly what: string;
  /** Folder of its files. */
  readonly folder: string;
  /** Time-out of one test in milliseconds; machines are slow and shared. */
  readonly timeoutMs: number;
  /** What the layer's run is given at most. */
  readonly limitMs: number;
  readonly needs: "nothing" | "scanners" | "engines" | "images" | "regions";
}

const MINUTE = 60_000;

/** In the order in which they run: the quick ones first, so that a mistake shows early. */
export const LAYERS: readonly Layer[] = [
  {
    name: "unit",
    what: "pure parts and their properties",
    folder: "test/unit",
    timeoutMs: 20_000,
    limitMs: 5 * MINUTE,
    needs: "nothing",
  },
  {
    name: "stacks",
    what: "components and the whole program under mocks, goldens",
    folder: "test/stacks",
    timeoutMs: 30_000,
    limitMs: 5 * MINUTE,
    needs: "nothing",
  },
  {
    name: "policies",
    what: "every rule of the policy pack: real stacks pass, mutations do not",
    folder: "test/policies",
    timeoutMs: 30_000,
    limitMs: 5 * MINUTE,
    needs: "nothing",
  },
  {
    name: "scanners",
    what: "public scanners over the manifests of every region and over the workflows",
    folder: "test/scanners",
    timeoutMs: 300_000,
    limitMs: 15 * MINUTE,
    needs: "scanners",
  },
  {
    name: "engines",
    what: "real NGINX, PgBouncer, HAProxy, PostgreSQL, Redis, etcd and CoreDNS on loopback",
    folder: "test/engines",
    timeoutMs: 60_000,
    limitMs: 30 * MINUTE,
    needs: "engines",
  },
  {
    name: "images",
    what: "what the images hold",
    folder: "test/images",
    timeoutMs: 60_000,
    limitMs: 15 * MINUTE,
    needs: "images",
  },
  {
    name: "live",
    what: "three running regions on embedded clusters",
    folder: "test/live",
    timeoutMs: 240_000,
    limitMs: 30 * MINUTE,
    needs: "regions",
  },
  {
    name: "drills",
    what: "faults on three running regions, with writes going on",
    folder: "test/drills",
    timeoutMs: 600_000,
    limitMs: 25 * MINUTE,
    needs: "regions",
  },
];
