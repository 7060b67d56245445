import { z } from "zod";
import { isAnybody, networkPoliciesOf, type NetworkPolicy, type TrafficRule } from "../../facts/network.ts";
import { selects } from "../../facts/selector.ts";
import { componentOf, namespaceOf, titleOf } from "../../facts/stack.ts";
import { podsMade } from "../../facts/workloads.ts";
import { stackRule, type Report } from "../../rule.ts";

const ports = z.array(z.int().min(1).max(65535)).min(1);

const config = z.strictObject({
  public: z
    .record(z.string().min(1), ports)
    // The edge: HTTP, HTTPS, and /health for load balancers and the kubelet. DNS: names are for everybody.
    .default({ edge: [8080, 8443, 8082], "global-dns": [53] })
    .describe("ports of pods that anybody may reach, by component"),
  anywhere: ports
    // Names, which clusters resolve in different places; the Kubernetes API, whose address no selector names.
    .default([53, 443, 6443])
    .describe("ports that pods may reach at any address"),
});
type Config = z.infer<typeof config>;

const TYPES = ["Ingress", "Egress"] as const;

export const networkPolicies = stackRule({
  name: "network-policies",
  description:
    "Every pod stands under NetworkPolicies that name who may talk to it, to whom it may talk, and on which ports.",
  severity: "high",
  why: "A pod that no policy selects may be reached by every pod of the cluster and may reach everything; a rule without peers or ports is as good as none.",
  remediation:
    "Give the component a NetworkPolicy with both policyTypes, selectors of its peers, and ports; name other regions by iam-ha:wan.peerNetworks.",
  config,
  check({ stack, config, report }) {
    const policies = networkPoliciesOf(stack);
    for (const pod of podsMade(stack)) {
      const over = policies.filter(
        ({ resource, podSelector }) =>
          namespaceOf(resource) === namespaceOf(pod.resource) && selects(podSelector, pod.labels),
      );
      for (const type of TYPES) {
        if (over.some(({ policyTypes }) => policyTypes.includes(type))) continue;
        report(
          `${titleOf(pod.resource)}: found no NetworkPolicy with ${type} that selects its pods; one is needed`,
          pod.resource,
        );
      }
    }
    for (const policy of policies) checkPolicy(policy, config, report);
  },
});

function checkPolicy(policy: NetworkPolicy, config: Config, report: Report): void {
  const { resource } = policy;
  const open = config.public[componentOf(resource) ?? ""] ?? [];
  policy.ingress.forEach((rule, i) =>
    checkRule(rule, rule.from, open, (message) =>
      report(`${titleOf(resource)} spec.ingress[${i}]${message}`, resource),
    ),
  );
  policy.egress.forEach((rule, i) =>
    checkRule(rule, rule.to, config.anywhere, (message) =>
      report(`${titleOf(resource)} spec.egress[${i}]${message}`, resource),
    ),
  );
}

/** A rule names its ports, and its peers unless the ports are open to everybody. */
function checkRule(rule: TrafficRule, peers: TrafficRule["from"], open: readonly number[], say: Report): void {
  const ports = rule.ports ?? [];
  if (ports.length === 0) say(".ports: found none, which means all; ports are needed");
  for (const { port, endPort } of ports)
    if (port === undefined || endPort !== undefined)
      say(
        `.ports: found ${port ?? "all of a protocol"}${endPort === undefined ? "" : ` to ${endPort}`}; single ports are needed`,
      );
  if (peers !== undefined && peers.length > 0 && !peers.some(isAnybody)) return;
  const closed = ports.filter(({ port }) => !open.includes(Number(port))).map(({ port }) => port);
  if (closed.length > 0)
    say(
      `: found port ${closed.join(", ")} open to everybody; peers must be named, but for port ${open.join(", ") || "none"}`,
    );
}
