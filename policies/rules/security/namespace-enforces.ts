import { isObject } from "../../facts/stack.ts";
import { resourceRule } from "../../rule.ts";

const LABEL = "pod-security.kubernetes.io/enforce";
const VERSION = `${LABEL}-version`;

export const namespaceEnforces = resourceRule({
  name: "namespace-enforces",
  description: "Every namespace has the API server enforce the profile restricted of the Pod Security Standards.",
  severity: "high",
  why: "Rules judge what this program makes. What people and controllers put into the namespace beside it is judged by the API server alone, and only where the namespace says so.",
  remediation: `Label the namespace ${LABEL}: restricted, and leave ${VERSION} out, so that the profile is that of the cluster's own version.`,
  check({ resource, report }) {
    if (!isObject(resource, "Namespace")) return;
    const labels = (resource.props["metadata"]?.labels ?? {}) as Record<string, string>;
    const [level, version] = [labels[LABEL], labels[VERSION]];
    if (level !== "restricted")
      report(`metadata.labels["${LABEL}"]: found ${JSON.stringify(level) ?? "nothing"}; it must be "restricted"`);
    if (version !== undefined && version !== "latest")
      report(`metadata.labels["${VERSION}"]: found ${JSON.stringify(version)}; allowed is none, or "latest"`);
  },
});
