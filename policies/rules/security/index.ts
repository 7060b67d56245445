import type { Rule } from "../../rule.ts";
import { cacheTls } from "./cache-tls.ts";
import { databaseTls } from "./database-tls.ts";
import { disruptionBudgets } from "./disruption-budgets.ts";
import { edgeTls } from "./edge-tls.ts";
import { leastRbac } from "./least-rbac.ts";
import { namespaceEnforces } from "./namespace-enforces.ts";
import { networkPolicies } from "./network-policies.ts";
import { pinnedImages } from "./pinned-images.ts";
import { plainSecrets } from "./plain-secrets.ts";
import { podSecurity } from "./pod-security.ts";
import { probes } from "./probes.ts";
import { resources } from "./resources.ts";
import { serviceAccountToken } from "./service-account-token.ts";
import { spread } from "./spread.ts";

/** Who gets in, who gets further, and what goes down together. */
export const securityRules: readonly Rule[] = [
  plainSecrets,
  databaseTls,
  cacheTls,
  edgeTls,
  networkPolicies,
  podSecurity,
  namespaceEnforces,
  serviceAccountToken,
  leastRbac,
  pinnedImages,
  resources,
  probes,
  disruptionBudgets,
  spread,
];
