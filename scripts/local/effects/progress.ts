import type { RegionName } from "../plan/regions.ts";

/** Parts of a start or stop, in the order in which a person would expect them. */
export type Step =
  | "preflight"
  | "programs"
  | "packages"
  | "network"
  | "certificates"
  | "daemons"
  | "api"
  | "images"
  | "node"
  | "dns"
  | "ready"
  | "stop";

export interface ProgressEvent {
  /** Absent for what all regions share. */
  readonly region?: RegionName;
  readonly step: Step;
  /** One short phrase. */
  readonly detail: string;
  /** From 0 to 1, where it can be told. */
  readonly fraction?: number;
}

export type OnProgress = (event: ProgressEvent) => void;
