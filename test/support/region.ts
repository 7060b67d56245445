import type { DatabaseStatus } from "../../sidecar/core/region-status.ts";

/** What a region's database says, with what a test changes in it. */
export function database(changes: Partial<DatabaseStatus> = {}): DatabaseStatus {
  return {
    state: "primary",
    systemId: "7000000000000000001",
    timeline: 1,
    lsn: "0/1000",
    replicas: 0,
    source: undefined,
    streaming: false,
    slots: [],
    ...changes,
  };
}
