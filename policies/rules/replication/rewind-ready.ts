import { isOn, patroniIn, type Settings } from "../../facts/postgres.ts";
import { resourceRule } from "../../rule.ts";

export const rewindReady = resourceRule({
  name: "rewind-ready",
  description:
    "A primary that was replaced comes back as a replica by pg_rewind, without a copy and without losing data.",
  severity: "high",
  why: "After every failover and every takeover the old primary may be ahead of the new one. With pg_rewind it is back after seconds; without it, it must be copied whole or stays away. wal_log_hints is what pg_rewind needs where a cluster was made without checksums: initdb's options only bind new ones. A member that deletes its own data folder takes away what might still be saved from it.",
  remediation:
    "Leave use_pg_rewind and iam-ha:postgres.parameters.wal_log_hints on, and Patroni's remove_data_directory_on_* off.",
  check({ resource, report }) {
    const patroni = patroniIn(resource);
    if (!patroni) return;
    const { postgresql, parameters } = patroni;
    const must = (settings: Settings, name: string, needed: boolean, byDefault?: boolean) => {
      if (isOn(settings, name, byDefault) !== needed)
        report(`${settings.where}.${name}: found ${!needed}; must be ${needed}`);
    };
    must(postgresql, "use_pg_rewind", true);
    must(parameters, "wal_log_hints", true);
    must(postgresql, "remove_data_directory_on_rewind_failure", false, false);
    must(postgresql, "remove_data_directory_on_diverged_timelines", false, false);
  },
});
