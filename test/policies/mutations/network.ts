import type { Mutation } from "../mutation.ts";
import { spec } from "./objects.ts";

/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return --
   a mutation goes wherever it likes */

const policy = (name: string, change: (spec: any) => void) => spec("NetworkPolicy", name, change);

export const networkMutations: readonly Mutation[] = [
  {
    rule: "network-policies",
    breaks: "a pod under no policy",
    says: /StatefulSet\/postgresql-beijing: found no NetworkPolicy with Ingress that selects its pods/,
    change: (stack) => stack.remove("NetworkPolicy", "postgresql"),
  },
  {
    rule: "network-policies",
    breaks: "a policy for other pods",
    says: /Deployment\/pgbouncer: found no NetworkPolicy with Ingress/,
    change: policy("pgbouncer", (s) => (s.podSelector.matchLabels["app.kubernetes.io/name"] = "pooler")),
  },
  {
    rule: "network-policies",
    breaks: "a policy without Egress",
    says: /Deployment\/pgbouncer: found no NetworkPolicy with Egress/,
    change: policy("pgbouncer", (s) => (s.policyTypes = ["Ingress"])),
  },
  {
    rule: "network-policies",
    breaks: "nobody named who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]: found port 6432 open to everybody; peers must be named, but for port none/,
    change: policy("pgbouncer", (s) => delete s.ingress[0].from),
  },
  {
    rule: "network-policies",
    breaks: "every pod named who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]: found port 6432 open to everybody/,
    change: policy("pgbouncer", (s) => (s.ingress[0].from = [{ podSelector: {} }])),
  },
  {
    rule: "network-policies",
    breaks: "every address named who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]: found port 6432 open to everybody/,
    change: policy("pgbouncer", (s) => s.ingress[0].from.push({ ipBlock: { cidr: "0.0.0.0/0" } })),
  },
  {
    rule: "network-policies",
    breaks: "a port that is not public at what is",
    says: /NetworkPolicy\/edge spec\.ingress\[0\]: found port 8444 open to everybody; peers must be named, but for port 8080, 8443, 8082/,
    change: policy("edge", (s) => s.ingress[0].ports.push({ protocol: "TCP", port: 8444 })),
  },
  {
    rule: "network-policies",
    breaks: "every port of who may come",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]\.ports: found none, which means all/,
    change: policy("pgbouncer", (s) => delete s.ingress[0].ports),
  },
  {
    rule: "network-policies",
    breaks: "a range of ports",
    says: /NetworkPolicy\/pgbouncer spec\.ingress\[0\]\.ports: found 6432 to 65535; single ports are needed/,
    change: policy("pgbouncer", (s) => (s.ingress[0].ports[0].endPort = 65535)),
  },
  {
    rule: "network-policies",
    breaks: "every port of where it may go",
    says: /NetworkPolicy\/pgbouncer spec\.egress\[0\]\.ports: found none, which means all/,
    change: policy("pgbouncer", (s) => delete s.egress[0].ports),
  },
  {
    rule: "network-policies",
    breaks: "anywhere where it may go",
    says: /NetworkPolicy\/pgbouncer spec\.egress\[0\]: found port 5432, 8008 open to everybody; peers must be named, but for port 53, 443, 6443/,
    change: policy("pgbouncer", (s) => delete s.egress[0].to),
  },
];
