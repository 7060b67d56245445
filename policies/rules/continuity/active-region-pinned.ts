import { z } from "zod";
import { REGION_FILE, regionIn } from "../../facts/controller.ts";
import { resourceRule } from "../../rule.ts";

const config = z.strictObject({
  activeRegion: z
    .string()
    .min(1)
    .default("beijing")
    .describe("region that is active when the platform is made, §5.4.1"),
});

export const activeRegionPinned = resourceRule({
  name: "active-region-pinned",
  description: "The region that is active when the platform is made is the one that the policy names.",
  severity: "critical",
  why: "§5.4.1 of the design: Beijing. Who is active changes at run time, through the witness, and never by a deployment: the stack's word counts once, when there is no database anywhere. A change of it later would say something else than the platform does, and would found a second database where the first was lost from sight.",
  remediation:
    "Leave the role active in iam-ha:regions where it is; to move activity, switch regions at run time. Where the change is meant, name the region in the rule's configuration (activeRegion) too, where reviewers see it.",
  config,
  check({ resource, config, report }) {
    const facts = regionIn(resource);
    if (!facts) return;
    const active = Object.keys(facts.regions).filter((name) => facts.regions[name]!.initiallyActive);
    // None, or several, is another matter.
    if (active.length === 1 && active[0] !== config.activeRegion)
      report(
        `data["${REGION_FILE}"] regions.${active[0]}.initiallyActive: found ${active[0]} active; only ${config.activeRegion} is allowed to be`,
      );
  },
});
