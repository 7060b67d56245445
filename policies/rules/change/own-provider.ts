import { isObject } from "../../facts/stack.ts";
import { resourceRule } from "../../rule.ts";

/** What the engine itself makes, and components, which no provider manages. */
const WITHOUT = /^(pulumi:|iam-ha:)/;
const REGION = "app.kubernetes.io/instance";

export const ownProvider = resourceRule({
  name: "own-provider",
  description:
    "Every resource is managed by the provider of its own region, named in the program, and none by a default one.",
  severity: "critical",
  why: "A default provider takes the cluster that a person's kubeconfig happens to name: one region's database is then made, or deleted, in another.",
  remediation:
    "Pass { parent: this } to every resource of a component, and the region's providers to the Region (stacks/index.ts).",
  check({ resource, report }) {
    if (WITHOUT.test(resource.type)) return;
    const { provider } = resource;
    if (!provider) return report("provider: found none that is named; the region's own is needed");
    if (provider.name === "default" || provider.name.startsWith("default_"))
      return report(`provider: found ${provider.name} of ${provider.type}; the region's own is needed`);
    if (!isObject(resource)) return;
    const region = (resource.props["metadata"]?.labels as Record<string, string> | undefined)?.[REGION];
    if (region !== provider.name)
      report(
        `provider: found ${provider.name} for an object whose label ${REGION} is ${region ?? "not set"}; they must be the same region`,
      );
  },
});
