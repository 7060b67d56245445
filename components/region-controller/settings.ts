import { z } from "zod";
import { resources } from "../common/schema.ts";

export const regionControllerSettings = z
  .strictObject({
    leaseTtlSeconds: z
      .int()
      .min(3)
      .max(300)
      .default(10)
      .describe(
        "how long activity outlives its holder's last word, in seconds; a controller that is back within this goes on under the same epoch",
      ),
    witnessTimeoutMillis: z
      .int()
      .min(100)
      .max(30_000)
      .default(1000)
      .describe("time-out of one call to one member of the witness, in milliseconds"),
    databaseTimeoutMillis: z
      .int()
      .min(100)
      .max(30_000)
      .default(2000)
      .describe("time-out of one call to Patroni, and of one statement, in milliseconds"),
    redisTimeoutMillis: z
      .int()
      .min(100)
      .max(30_000)
      .default(1000)
      .describe("time-out of one command to Redis, in milliseconds"),
    intervalMillis: z
      .int()
      .min(100)
      .max(60_000)
      .default(1000)
      .describe("pause between two looks at the database, its source and the other regions, in milliseconds"),
    maxLagSeconds: z
      .number()
      .min(1)
      .max(3600)
      .default(30)
      .describe("a link further behind than this is unhealthy, in seconds (§5.4.2: 30)"),
    maxErrors: z
      .int()
      .min(0)
      .max(1000)
      .default(10)
      .describe("a link with more errors than this in the last hour is unhealthy (§5.4.2: 10)"),
    sourceLostSeconds: z
      .number()
      .min(1)
      .max(3600)
      .default(20)
      .describe(
        "how long the source of a standby must be away before the next one is taken, in seconds; a better one is gone back to after twice as long. Longer than Patroni needs to replace a primary inside its region",
      ),
    consistencySeconds: z
      .int()
      .min(10)
      .max(86_400)
      .default(300)
      .describe("pause between two comparisons of sampled content with the active region's, in seconds"),
    resources: resources
      .prefault({ cpu: "50m", cpuLimit: "1", memory: "256Mi" })
      .describe("compute resources of the controller"),
  })
  .superRefine((settings, ctx) => {
    const { leaseTtlSeconds, witnessTimeoutMillis } = settings;
    // A round reads and renews, and each may meet one member that hangs before another answers.
    if (leaseTtlSeconds * 1000 < 3 * witnessTimeoutMillis) {
      ctx.addIssue({
        code: "custom",
        path: ["leaseTtlSeconds"],
        input: leaseTtlSeconds,
        message: `must be at least three times witnessTimeoutMillis (${(3 * witnessTimeoutMillis) / 1000} s), or one member that hangs costs the lease`,
      });
    }
  })
  .describe("the region controller: who is active, and how data travels between the regions (§5.4.1, §5.4.2)");
export type RegionControllerSettings = z.infer<typeof regionControllerSettings>;
