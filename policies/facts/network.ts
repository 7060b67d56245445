import { isEmpty, type LabelSelector } from "./selector.ts";
import type { Resource, Stack } from "./stack.ts";

/** A peer of a NetworkPolicy's rule. */
export interface Peer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string };
}

/** One rule of a NetworkPolicy. */
export interface TrafficRule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly {
    readonly protocol?: string;
    readonly port?: number | string;
    readonly endPort?: number;
  }[];
}

/** What a NetworkPolicy says. */
export interface NetworkPolicy {
  readonly resource: Resource;
  readonly podSelector: LabelSelector;
  readonly policyTypes: readonly string[];
  readonly ingress: readonly TrafficRule[];
  readonly egress: readonly TrafficRule[];
}

/** Every NetworkPolicy of a stack. Types are those that it names: the API's default depends on what else is there. */
export function networkPoliciesOf(stack: Stack): NetworkPolicy[] {
  return stack.objects("NetworkPolicy").map((resource) => {
    const spec = resource.props["spec"] as Partial<Omit<NetworkPolicy, "resource">>;
    return {
      resource,
      podSelector: spec.podSelector ?? {},
      policyTypes: spec.policyTypes ?? [],
      ingress: spec.ingress ?? [],
      egress: spec.egress ?? [],
    };
  });
}

/** Whether a peer names nobody in particular: every address, or every pod of the namespace or of all of them. */
export function isAnybody({ podSelector, namespaceSelector, ipBlock }: Peer): boolean {
  if (ipBlock) return /\/0$/.test(ipBlock.cidr);
  return podSelector === undefined || isEmpty(podSelector)
    ? namespaceSelector === undefined || isEmpty(namespaceSelector)
    : false;
}
