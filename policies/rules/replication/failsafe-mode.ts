import { isOn, patroniIn } from "../../facts/postgres.ts";
import { resourceRule } from "../../rule.ts";

export const failsafeMode = resourceRule({
  name: "failsafe-mode",
  description: "A primary goes on while the Kubernetes API is away, as long as all its replicas answer it.",
  severity: "high",
  why: "Without failsafe mode Patroni demotes the primary when it cannot renew its key: an outage of the API server alone would take all writes away.",
  remediation: "Set iam-ha:postgres.patroni.failsafeMode to true.",
  check({ resource, report }) {
    const patroni = patroniIn(resource);
    if (patroni && !isOn(patroni.shared, "failsafe_mode"))
      report(`${patroni.shared.where}.failsafe_mode: found false; must be true`);
  },
});
