import assert from "node:assert/strict";
import { regionControllerSettings } from "../../../components/region-controller/settings.ts";

describe("settings of the region controller", () => {
  it("defaults are those of §5.4.2 and leave the lease three time-outs", () => {
    const settings = regionControllerSettings.parse({});
    assert.deepEqual([settings.maxLagSeconds, settings.maxErrors, settings.leaseTtlSeconds], [30, 10, 10]);
    assert.ok(settings.leaseTtlSeconds * 1000 >= 3 * settings.witnessTimeoutMillis);
  });

  it("a lease that one member that hangs would cost is refused, with path and remedy; so is an unknown key", () => {
    const problems = (settings: object) =>
      regionControllerSettings
        .safeParse(settings)
        .error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    assert.match(
      problems({ leaseTtlSeconds: 5, witnessTimeoutMillis: 2000 })![0]!,
      /^leaseTtlSeconds: must be at least .*\(6 s\)/,
    );
    assert.equal(problems({ leaseTtlSeconds: 6, witnessTimeoutMillis: 2000 }), undefined);
    assert.match(problems({ leaseTtl: 6 })![0]!, /leaseTtl/);
  });
});
