import { REGION_FILE, regionIn } from "../../facts/controller.ts";
import { resourceRule } from "../../rule.ts";

export const oneActiveRegion = resourceRule({
  name: "one-active-region",
  description: "Exactly one region is active when the platform is made, and this region's role agrees.",
  severity: "critical",
  why: "§5.4.1 of the design: one region is active, the others stand by. With two, each would make a database of its own and both would take writes; with none, no region's database ever comes up.",
  remediation: "Give exactly one region of iam-ha:regions the role active, the same one in every stack.",
  check({ resource, report }) {
    const facts = regionIn(resource);
    if (!facts) return;
    const { region, role, regions } = facts;
    const active = Object.keys(regions).filter((name) => regions[name]!.initiallyActive);
    const where = `data["${REGION_FILE}"]`;
    if (active.length !== 1)
      report(
        `${where} regions.*.initiallyActive: found ${active.length} active regions (${active.join(", ")}); exactly one is allowed`,
      );
    const own = regions[region];
    if (!own) {
      report(`${where} region: found ${region}, which is none of ${Object.keys(regions).join(", ")}`);
      return;
    }
    if ((role === "active") !== own.initiallyActive)
      report(
        `${where} role: found ${role}, while regions.${region}.initiallyActive is ${own.initiallyActive}; the two must agree`,
      );
  },
});
