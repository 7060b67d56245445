import assert from "node:assert/strict";
import { onlyDatabaseWaits } from "../../../scripts/start/healthy.ts";
import type { PartRow } from "../../../scripts/status/parts.ts";
import type { RegionReport } from "../../../scripts/status/report.ts";
import type { Problem } from "../../../sidecar/core/region-status.ts";

const row = (part: string, healthy: boolean): PartRow => ({
  region: "shanghai",
  part,
  pod: `${part}-0`,
  role: "",
  healthy,
  detail: "",
});
const report = (...problems: Problem[]) => ({ region: "shanghai", status: { problems } }) as unknown as RegionReport;
const waits = { kind: "database-waits", subject: "shanghai", message: "beijing does not answer" };
const others = [row("edge", true), row("redis", true), row("witness", true), row("region-controller", true)];

describe("a start of a region whose source is away", () => {
  it("is done when only the database and what needs it are missing", () => {
    const rows = [...others, row("postgresql", false), row("iam-api", false), row("pgbouncer", false)];
    assert.equal(onlyDatabaseWaits(rows, report(waits)), "beijing does not answer");
  });

  it("goes on waiting while anything else is missing", () => {
    assert.equal(
      onlyDatabaseWaits([...others.slice(1), row("edge", false), row("postgresql", false)], report(waits)),
      undefined,
    );
  });

  it("goes on waiting when the controller says something else, or nothing", () => {
    const rows = [...others, row("postgresql", false)];
    assert.equal(onlyDatabaseWaits(rows, report({ ...waits, kind: "database-down" })), undefined);
    assert.equal(onlyDatabaseWaits(rows, { region: "shanghai", error: "no answer" }), undefined);
    assert.equal(onlyDatabaseWaits(rows, undefined), undefined);
  });
});
