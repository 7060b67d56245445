import { isOn, patroniIn } from "../../facts/postgres.ts";
import { resourceRule } from "../../rule.ts";

/** What each of these must be. PostgreSQL's own defaults are the same. */
const PARAMETERS = { fsync: true, full_page_writes: true, zero_damaged_pages: false, ignore_checksum_failure: false };

const onOff = (on: boolean) => (on ? "on" : "off");

export const postgresDurability = resourceRule({
  name: "postgres-durability",
  description: "What PostgreSQL has acknowledged is on disk, and damaged pages are noticed and never passed over.",
  severity: "critical",
  why: "With fsync or full_page_writes off a crash of the machine leaves a database that is broken without saying so, and replication carries it on. Without checksums, or with failures ignored, a page that a disk has damaged is copied to every backup.",
  remediation:
    "Take fsync, full_page_writes, zero_damaged_pages and ignore_checksum_failure out of iam-ha:postgres.extraParameters: their defaults are right. Leave data-checksums among Patroni's initdb options.",
  check({ resource, report }) {
    const patroni = patroniIn(resource);
    if (!patroni) return;
    const { parameters, initdb } = patroni;
    for (const [name, needed] of Object.entries(PARAMETERS)) {
      if (isOn(parameters, name, needed) !== needed)
        report(`${parameters.where}.${name}: found ${onOff(!needed)}; must be ${onOff(needed)}`);
    }
    if (!initdb.includes("data-checksums"))
      report(
        `data["10-patroni.yml"] bootstrap.initdb: found ${JSON.stringify(initdb)}; data-checksums must be among them`,
      );
  },
});
