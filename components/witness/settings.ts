import { z } from "zod";
import { byteQuantity, quantityBytes, resources } from "../common/schema.ts";

/** etcd user of the region controllers: the only one that writes. */
export const CONTROLLER_USER = "region-controller";
/** etcd user of the DNS servers: reads what controllers wrote for them. */
export const DNS_USER = "dns";
/** What region controllers write: the active region, its epoch, the state of plans. */
export const CONTROLLER_PREFIX = "/iam-ha/";
/** Records of the platform's name, as CoreDNS' etcd plugin reads them. */
export const DNS_PREFIX = "/skydns/";

/** etcd refuses a longer one, as it does one below five heartbeats. */
const MAX_ELECTION_MILLIS = 50_000;

export const witnessSettings = z
  .strictObject({
    heartbeatMillis: z
      .int()
      .min(10)
      .max(5000)
      .default(100)
      .describe(
        "heartbeat-interval in milliseconds. etcd's guidance: about the longest round trip between members; the three cities are 30 to 40 ms apart, the rest is for jitter",
      ),
    electionTimeoutMillis: z
      .int()
      .min(100)
      .max(MAX_ELECTION_MILLIS)
      .default(1500)
      .describe(
        "election-timeout in milliseconds: a leader silent for so long is replaced, within twice the time. etcd's guidance: at least ten round trips",
      ),
    storage: byteQuantity.default("2Gi").describe("volume of the member"),
    resources: resources
      .prefault({ cpu: "100m", cpuLimit: "1", memory: "256Mi" })
      .describe("compute resources of the member"),
    quotaBytes: z
      .int()
      .min(16 * 1024 ** 2)
      .max(8 * 1024 ** 3)
      .default(128 * 1024 ** 2)
      .describe(
        "quota-backend-bytes: a larger database refuses writes. The witness holds some hundred small keys; compaction gives their old revisions back",
      ),
    autoCompactionMinutes: z
      .int()
      .min(5)
      .max(1440)
      .default(60)
      .describe("auto-compaction-retention in minutes: older revisions of keys are dropped"),
    snapshotCount: z
      .int()
      .min(100)
      .max(1_000_000)
      .default(10_000)
      .describe("snapshot-count: changes between two snapshots, after which older logs are dropped"),
    callTimeoutSeconds: z
      .int()
      .min(1)
      // The probes' patience, 60 s, must outlast a look at all members.
      .max(10)
      .default(5)
      .describe("time-out of one call to a member when one forms or joins the witness and when it sets up users"),
    pollSeconds: z
      .int()
      .min(1)
      .max(60)
      .default(2)
      .describe("pause between two looks at the other members by one that waits with an empty volume, in seconds"),
    mayFound: z
      .boolean()
      .default(true)
      .describe(
        "whether members with empty volumes may found a witness, a majority of them at once. Set it to false once the witness was formed: an empty member then only ever joins, even if two regions lose their volumes while the third cannot be reached",
      ),
    probePeriodSeconds: z
      .int()
      .min(1)
      .max(60)
      .default(5)
      .describe("seconds between two readiness probes; liveness is probed a third as often"),
    terminationGraceSeconds: z
      .int()
      .min(20)
      .max(600)
      .default(30)
      .describe("seconds between the order to stop and the kill; a leader hands over within 15 s"),
  })
  .superRefine((settings, ctx) => {
    const issue = (path: PropertyKey[], message: string, input: unknown) =>
      ctx.addIssue({ code: "custom", path, message, input });
    if (settings.electionTimeoutMillis < 10 * settings.heartbeatMillis) {
      issue(
        ["electionTimeoutMillis"],
        `must be at least ten heartbeats (${10 * settings.heartbeatMillis}), as a heartbeat is about a round trip: or a slow network changes the leader again and again`,
        settings.electionTimeoutMillis,
      );
    }
    if (quantityBytes(settings.storage) < 4 * settings.quotaBytes) {
      issue(
        ["storage"],
        `must be at least four times quotaBytes (${4 * settings.quotaBytes} bytes): database, snapshot, logs, and data set aside`,
        settings.storage,
      );
    }
    if (quantityBytes(settings.resources.memory) < settings.quotaBytes + 64 * 1024 ** 2) {
      issue(
        ["resources", "memory"],
        `must be at least quotaBytes + 64Mi (${settings.quotaBytes + 64 * 1024 ** 2} bytes): etcd maps its whole database`,
        settings.resources.memory,
      );
    }
  })
  .describe("this region's member of the witness (etcd): who is active, under which epoch");
export type WitnessSettings = z.infer<typeof witnessSettings>;
