import type { Mutation } from "../mutation.ts";

/** Changes Patroni's dynamic configuration. */
const dynamic =
  (parameters: Readonly<Record<string, string>>): Mutation["change"] =>
  (stack) =>
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a mutation goes wherever it likes
    stack.json("postgresql-patroni", "20-dynamic.yml", (file: any) =>
      Object.assign(file.bootstrap.dcs.postgresql.parameters as object, parameters),
    );

const region =
  <T>(change: (file: T) => void): Mutation["change"] =>
  (stack) =>
    stack.json("region-controller", "region.json", change);

export const objectiveMutations: readonly Mutation[] = [
  {
    rule: "recovery-time",
    breaks: "core business over 5 min",
    says: /core-business .*the primary's node vanishes without a word: found [0-9.]+ s; at most 300 s is allowed\. .*401 s HAProxy's checks find the new primary/,
    change: (stack) =>
      stack.file("pgbouncer-haproxy", "haproxy.cfg", (text) => text.replace("downinter 1000ms", "downinter 399000ms")),
  },
  {
    rule: "recovery-time",
    breaks: "core business over 5 min, through the edge's idle connections",
    says: /a pod of the API is lost or hangs: .*300 s a request on it gets no answer \[ConfigMap\/edge proxy\.conf proxy_read_timeout\]/,
    change: (stack) =>
      stack.file("edge", "proxy.conf", (text) => text.replace("proxy_read_timeout 60s", "proxy_read_timeout 300s")),
  },
  {
    rule: "recovery-time",
    breaks: "core business over 5 min, through the name's time to live",
    says: /the active region is lost: .*300 s the name's old answer is over .*not counted: the takeover itself/,
    change: (stack) => {
      region((file: { dns: { ttlSeconds: number } }) => (file.dns.ttlSeconds = 300))(stack);
      stack.file("global-dns", "Corefile", (text) => text.replaceAll("success 1024 5 1", "success 1024 300 1"));
    },
  },
  {
    rule: "recovery-time",
    breaks: "data services over 10 min",
    says: /data-services \(database-replication\), a standby region's source is lost: found 6[0-9.]+ s; at most 600 s/,
    change: region((file: { monitor: { sourceLostSeconds: number } }) => (file.monitor.sourceLostSeconds = 540)),
  },
  {
    rule: "recovery-time",
    breaks: "a wait without an end",
    says: /found no bound; at most 300 s is allowed/,
    change: dynamic({ max_standby_streaming_delay: "-1" }),
  },
  {
    rule: "recovery-point",
    breaks: "core business over 1 min",
    says: /core-business .*the active region is lost.*: found 63 s; at most 60 s .*59 s a link further behind/,
    change: region((file: { monitor: { maxLagSeconds: number } }) => (file.monitor.maxLagSeconds = 59)),
  },
  {
    rule: "recovery-point",
    breaks: "core business over 1 min, through sessions",
    says: /core-business \(user-authentication\), .*sessions that the region that takes over first has not got: found 63 s/,
    change: region((file: { links: { retryDelayMillis: number }[] }) => (file.links[0]!.retryDelayMillis = 15_000)),
  },
  {
    rule: "recovery-point",
    breaks: "data services over 5 min",
    says: /data-services \(cache-synchronization\), shanghai is lost.*: found 302 s; at most 300 s/,
    change: region((file: { links: { retryDelayMillis: number }[] }) => (file.links[2]!.retryDelayMillis = 120_000)),
  },
];
