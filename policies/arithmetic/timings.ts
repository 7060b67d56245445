import type { Given } from "./bound.ts";

/** A probe of the kubelet, in seconds. */
export interface Probe {
  readonly period: Given;
  readonly failures: Given;
  readonly timeout: Given;
}

/** Pods that stand for each other, behind a Service. */
export interface Pods {
  /** Whether there is one alone, so that nobody serves while it is away. */
  readonly alone: boolean;
  /** Whether a pod of a lost node comes back elsewhere by itself: a StatefulSet's does not. */
  readonly moves: boolean;
  readonly readiness: Probe | undefined;
  readonly liveness: Probe | undefined;
  /** Between the order to stop and the kill. */
  readonly grace: Given;
  /** How long pods stay bound to a node that is not reached. */
  readonly toleration: Given;
}

/** How sessions travel between two regions. */
export interface LinkTimings {
  readonly from: string;
  readonly to: string;
  readonly interval: Given;
  readonly attempts: Given;
  readonly retryDelay: Given;
}

/** Everything of a stack that recovery takes time for: seconds and counts, each with its place. A greater figure is a
 *  slower recovery, for every one of them. */
export interface Timings {
  readonly edge: Pods & {
    /** Whether a load balancer finds out by itself which nodes have a pod that serves. */
    readonly balanced: boolean;
    /** NGINX towards the API. */
    readonly proxyConnect: Given;
    readonly proxyRead: Given;
    readonly upstreamIdle: Given;
    /** The edge's sidecar towards the region controller. */
    readonly poll: Given;
    readonly call: Given;
    readonly resolve: Given;
  };
  readonly api: Pods;
  readonly pooler: Pods & {
    readonly inter: Given;
    readonly fastInter: Given;
    readonly downInter: Given;
    readonly fall: Given;
    readonly rise: Given;
    readonly check: Given;
    readonly connect: Given;
    readonly retries: Given;
    readonly loginRetry: Given;
  };
  readonly patroni: {
    readonly ttl: Given;
    readonly loopWait: Given;
    readonly primaryStart: Given;
    /** max_standby_streaming_delay; Infinity for -1. */
    readonly standbyDelay: Given;
    /** wal_receiver_timeout; Infinity for 0. */
    readonly receiverTimeout: Given;
    readonly retrieveRetry: Given;
    /** Why a commit that was acknowledged is on a replica too; undefined: it need not be. */
    readonly synchronous: string | undefined;
    readonly strict: boolean;
    /** archive_timeout where WAL is archived; undefined where it is not. */
    readonly archive: Given | undefined;
  };
  readonly redis: { readonly nodeTimeout: Given };
  readonly controller: Pods & {
    readonly leaseTtl: Given;
    readonly witnessCall: Given;
    readonly databaseCall: Given;
    readonly interval: Given;
    readonly maxLag: Given;
    readonly sourceLost: Given;
    readonly links: readonly LinkTimings[];
    /** Link over which the region that takes over first gets its sessions; undefined: there is none. */
    readonly takeoverLink: LinkTimings | undefined;
  };
  /** undefined where the name is kept by other means. */
  readonly dns: { readonly ttl: Given } | undefined;
  readonly witness: { readonly election: Given };
}
