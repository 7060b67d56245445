import type { PodTemplate } from "../../facts/pods.ts";
import { accountOf, isBound } from "../../facts/rbac.ts";
import { namespaceOf, objectName, titleOf } from "../../facts/stack.ts";
import { podsMade } from "../../facts/workloads.ts";
import { stackRule } from "../../rule.ts";

export const serviceAccountToken = stackRule({
  name: "service-account-token",
  description: "Every pod has a ServiceAccount of its own, and a token of it only where the stack gives it a role.",
  severity: "high",
  why: "A token is a way from a taken-over process to the API server. Where nothing is allowed there, nobody needs one; the account default collects whatever anybody ever bound to it.",
  remediation:
    "Set serviceAccountName to an account of the component, and automountServiceAccountToken to false on the account and the pod (podDefaults does); a pod that uses the API mounts its token and has a Role and a RoleBinding.",
  check({ stack, report }) {
    for (const pod of podsMade(stack)) {
      const { resource, path, spec } = pod;
      const title = titleOf(resource);
      const [name, namespace] = [spec.serviceAccountName, namespaceOf(resource)];
      if (name === undefined || name === "" || name === "default") {
        report(
          `${title} ${path}.serviceAccountName: found ${name || "none"}; it must be an account of its own`,
          resource,
        );
        continue;
      }
      const account = accountOf(stack, name, namespace);
      if (!account) {
        report(`${title} ${path}.serviceAccountName: found ${name}; the stack has no such ServiceAccount`, resource);
        continue;
      }
      const bound = isBound(stack, name, namespace);
      // The pod's word counts, then the account's; the API's default is a token.
      const mounted = spec.automountServiceAccountToken ?? account.props["automountServiceAccountToken"] ?? true;
      const why = `the stack gives ${name} no role`;
      if (mounted && !bound)
        report(`${title} ${path}.automountServiceAccountToken: found true; it must be false, as ${why}`, resource);
      for (const at of projectedTokens(pod))
        if (!bound) report(`${title} ${at}: found a serviceAccountToken; none is allowed, as ${why}`, resource);
    }
    for (const account of stack.objects("ServiceAccount")) {
      const found: unknown = account.props["automountServiceAccountToken"];
      if (found !== false && !isBound(stack, objectName(account), namespaceOf(account)))
        report(
          `${titleOf(account)} automountServiceAccountToken: found ${String(found)}; it must be false, as the stack gives it no role`,
          account,
        );
    }
  },
});

interface Projected {
  readonly sources?: readonly { readonly serviceAccountToken?: { readonly audience?: string } }[];
}

/** Paths of the volumes by which a pod is given a token. One for another audience than the API server is no way there. */
function projectedTokens({ path, spec }: PodTemplate): string[] {
  return (spec.volumes ?? []).flatMap((volume, i) =>
    ((volume["projected"] as Projected | undefined)?.sources ?? []).flatMap(({ serviceAccountToken }, k) =>
      serviceAccountToken && serviceAccountToken.audience === undefined
        ? [`${path}.volumes[${i}].projected.sources[${k}]`]
        : [],
    ),
  );
}
