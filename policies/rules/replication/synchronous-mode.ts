import { numberIn, patroniIn, show } from "../../facts/postgres.ts";
import { resourceRule } from "../../rule.ts";

/** PostgreSQL takes `on` for a boolean too. `remote_write` is not enough: a replica's system may not have it on disk. */
const COMMITS: readonly string[] = ["on", "true", "yes", "1", "remote_apply"];

export const synchronousMode = resourceRule({
  name: "synchronous-mode",
  description: "A commit is acknowledged when a quorum of replicas has it on disk, in every region.",
  severity: "critical",
  why: "No acknowledged write may be lost inside a region. In a standby region the mode takes effect on its promotion, when it is too late to set it. With quorum, and not named replicas, one slow or dead replica holds up nobody, and Patroni knows who may take over.",
  remediation:
    "Set iam-ha:postgres.synchronous.mode to quorum, synchronous.nodeCount to 1 or more, and parameters.synchronous_commit to on or remote_apply.",
  check({ resource, report }) {
    const patroni = patroniIn(resource);
    if (!patroni) return;
    const { shared, parameters } = patroni;
    const mode = shared.values["synchronous_mode"];
    if (String(mode).toLowerCase() !== "quorum")
      report(`${shared.where}.synchronous_mode: found ${show(mode)}; must be "quorum"`);
    const nodes = numberIn(shared, "synchronous_node_count");
    if (nodes < 1) report(`${shared.where}.synchronous_node_count: found ${nodes}; at least 1 is needed`);
    const commit = parameters.values["synchronous_commit"];
    if (!COMMITS.includes(String(commit).toLowerCase()))
      report(`${parameters.where}.synchronous_commit: found ${show(commit)}; must be "on" or "remote_apply"`);
  },
});
