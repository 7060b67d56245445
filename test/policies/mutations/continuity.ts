import type { Mutation } from "../mutation.ts";

const region =
  <T>(change: (file: T) => void): Mutation["change"] =>
  (stack) =>
    stack.json("region-controller", "region.json", change);

const witness =
  <T>(change: (file: T) => void): Mutation["change"] =>
  (stack) =>
    stack.json("witness-config", "witness.json", change);

type Regions = { role: string; regions: Record<string, { initiallyActive: boolean }> };
type Witness = { members: Record<string, object>; etcd: string[] };

/** Sets flags of etcd that are there. */
const etcd = (flags: Readonly<Record<string, number>>): Mutation["change"] =>
  witness((file: Witness) => {
    for (const [name, value] of Object.entries(flags))
      file.etcd = file.etcd.map((flag) => (flag.startsWith(`--${name}=`) ? `--${name}=${value}` : flag));
  });

export const continuityMutations: readonly Mutation[] = [
  {
    rule: "one-active-region",
    breaks: "two active regions",
    says: /found 2 active regions \(beijing, shanghai\); exactly one/,
    change: region((file: Regions) => (file.regions["shanghai"]!.initiallyActive = true)),
  },
  {
    rule: "one-active-region",
    breaks: "no active region",
    region: "shanghai",
    says: /found 0 active regions/,
    change: region((file: Regions) => (file.regions["beijing"]!.initiallyActive = false)),
  },
  {
    rule: "one-active-region",
    breaks: "role that disagrees",
    region: "shenzhen",
    says: /role: found active, while regions\.shenzhen\.initiallyActive is false/,
    change: region((file: Regions) => (file.role = "active")),
  },
  {
    rule: "one-active-region",
    breaks: "region that is none of the platform's",
    unjudged: ["slots-for-peers", "wal-settings", "redis-one-region"],
    says: /region: found guangzhou, which is none of beijing, shanghai, shenzhen/,
    change: region((file: { region: string }) => (file.region = "guangzhou")),
  },
  {
    rule: "active-region-pinned",
    breaks: "another active region",
    region: "shanghai",
    says: /found shanghai active; only beijing is allowed to be/,
    change: region((file: Regions) => {
      file.regions["beijing"]!.initiallyActive = false;
      file.regions["shanghai"]!.initiallyActive = true;
      file.role = "active";
    }),
  },
  {
    rule: "lease-margin",
    breaks: "time-outs that outlast the lease",
    says: /found 10 s; at least 10\.5 s is needed: 1000 ms until the next renewal \+ 3 × 3000 ms/,
    change: region((file: { witness: { callTimeoutMillis: number } }) => (file.witness.callTimeoutMillis = 3000)),
  },
  {
    rule: "lease-margin",
    breaks: "lease that an election of the witness costs",
    says: /found 10 s; at least 10\.5 s is needed: .*2 × 4000 ms until the witness has a new leader/,
    change: etcd({ "election-timeout": 4000 }),
  },
  {
    rule: "witness-members",
    breaks: "even number of members",
    says: /found 4 \(.*\); an odd number/,
    change: witness((file: Witness) => (file.members["guangzhou"] = {})),
  },
  {
    rule: "witness-members",
    breaks: "one member alone",
    says: /found 1 \(beijing\); an odd number, and at least 3/,
    change: witness((file: Witness) => {
      delete file.members["shanghai"];
      delete file.members["shenzhen"];
    }),
  },
  {
    rule: "witness-members",
    breaks: "region without a member",
    says: /found none of shenzhen; one per region/,
    change: witness((file: Witness) => {
      delete file.members["shenzhen"];
      file.members["guangzhou"] = {};
    }),
  },
  {
    rule: "witness-members",
    breaks: "own region without a member",
    says: /region: found guangzhou, which is no member/,
    change: witness((file: { region: string }) => (file.region = "guangzhou")),
  },
  {
    rule: "witness-members",
    breaks: "election time-out under ten heartbeats",
    says: /found 900 ms; at least ten heartbeats, 1000 ms/,
    change: etcd({ "election-timeout": 900 }),
  },
  {
    rule: "witness-members",
    breaks: "election time-out under ten round trips",
    says: /found 300 ms; at least ten round trips, 400 ms/,
    change: etcd({ "heartbeat-interval": 30, "election-timeout": 300 }),
  },
];
