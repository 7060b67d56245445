import { z } from "zod";
import type { RegionStatus } from "../../sidecar/core/region-status.ts";

/** What a region's controller says of itself, or why it says nothing. */
export type RegionReport =
  { readonly region: string; readonly status: RegionStatus } | { readonly region: string; readonly error: string };

const text = z.string();
const number = z.number();
const active = z.looseObject({ region: text, epoch: number, since: text });
// What the board reads; more than that is let through. JSON leaves out what is undefined.
const shape = z.looseObject({
  region: text,
  now: text,
  active: active.optional(),
  witness: z.looseObject({
    reachable: z.boolean(),
    members: z.array(z.looseObject({ region: text, healthy: z.boolean(), leader: z.boolean(), version: text })),
    lastError: text.optional(),
  }),
  database: z.looseObject({
    state: text,
    timeline: number.optional(),
    lsn: text.optional(),
    replicas: number,
    source: text.optional(),
    streaming: z.boolean(),
    slots: z.array(
      z.looseObject({
        name: text,
        active: z.boolean(),
        walStatus: text.optional(),
        retainedBytes: number.optional(),
      }),
    ),
  }),
  links: z.array(
    z.looseObject({
      source: text,
      target: text,
      kind: text,
      healthy: z.boolean(),
      lagSeconds: number.optional(),
      lagBytes: number.optional(),
      pendingKeys: number.optional(),
      errors: number,
      lastError: text.optional(),
      batches: number.optional(),
      detail: text,
    }),
  ),
  consistency: z.looseObject({
    checkedAt: text.optional(),
    source: text.optional(),
    rows: number,
    keys: number,
    differences: number,
  }),
  problems: z.array(z.looseObject({ kind: text, subject: text, message: text })),
});

/** The report in a controller's answer. Another version's answer, or half of one, is an error in the report. */
export function parseReport(region: string, answer: string): RegionReport {
  let value: unknown;
  try {
    value = JSON.parse(answer);
  } catch {
    return { region, error: `its controller answers with something else than a status: ${excerpt(answer)}` };
  }
  const result = shape.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    return {
      region,
      error: `its controller's status can't be read: ${issue!.path.map(String).join(".")}: ${issue!.message}`,
    };
  }
  if (result.data.region !== region) {
    return { region, error: `its controller says that it is ${result.data.region}'s` };
  }
  return { region, status: value as RegionStatus };
}

function excerpt(answer: string): string {
  const line = answer.trim().split("\n")[0] ?? "";
  return line === "" ? "nothing" : line.slice(0, 80);
}
