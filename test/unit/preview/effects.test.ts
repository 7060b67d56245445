import assert from "node:assert/strict";
import type { ChangedStack } from "../../policies/stack.ts";
import { postgresParameters } from "../../../components/postgres/parameters.ts";
import type { EffectKind } from "../../../scripts/preview/effects/index.ts";
import { parameterTakes } from "../../../scripts/preview/effects/contexts.ts";
import { changed, kinds, reasons } from "./real.ts";

interface Case {
  readonly what: string;
  readonly change: (stack: ChangedStack) => void;
  /** Every kind of effect, the gravest first. */
  readonly kinds: readonly EffectKind[];
  /** What the reasons of the first kind say. */
  readonly says: RegExp;
}

const POSTGRES = "postgresql-beijing";
const image = (kind: string, name: string) => (stack: ChangedStack) => {
  stack.object(kind, name)["spec"].template.spec.containers[0].image += "-next";
};
const parameter = (name: string, value: unknown) => (stack: ChangedStack) =>
  stack.json(
    "postgresql-patroni",
    "20-dynamic.yml",
    ({ bootstrap }) => (bootstrap.dcs.postgresql.parameters[name] = value),
  );

const CASES: readonly Case[] = [
  {
    what: "the database's image",
    change: image("StatefulSet", POSTGRES),
    kinds: ["restarts-database"],
    says: /StatefulSet\/postgresql-beijing: its pods' template changes \(spec.containers\[postgres\].image\).*one at a time.*60 s to end/,
  },
  {
    what: "a parameter that only a start takes",
    change: parameter("max_connections", 300),
    kinds: ["restarts-database"],
    says: /max_connections takes effect at a start of PostgreSQL only: the reconciler restarts the replicas one at a time/,
  },
  {
    what: "such a parameter where restarts are a person's",
    change: (stack) => {
      parameter("shared_buffers", "512MB")(stack);
      stack.json("postgresql-scripts", "reconciler.json", (settings) => (settings.rolling_restarts = false));
    },
    kinds: ["pending-restart", "nothing"],
    says: /shared_buffers takes effect.*it waits, and `patronictl restart` is left to a person/,
  },
  {
    what: "such a parameter that is taken out",
    change: (stack) =>
      stack.json(
        "postgresql-patroni",
        "20-dynamic.yml",
        ({ bootstrap }) => delete bootstrap.dcs.postgresql.parameters.wal_buffers,
      ),
    kinds: ["restarts-database"],
    says: /wal_buffers/,
  },
  {
    what: "an extension's parameter",
    change: parameter("pg_stat_statements.max", 10000),
    kinds: ["restarts-database"],
    says: /pg_stat_statements.max is an extension's, and may/,
  },
  {
    what: "a parameter that a reload takes",
    change: parameter("work_mem", "8MB"),
    kinds: ["reloads"],
    says: /ConfigMap\/postgresql-patroni: work_mem: PostgreSQL takes it by a reload/,
  },
  {
    what: "Patroni's timing",
    change: (stack) =>
      stack.json("postgresql-patroni", "20-dynamic.yml", ({ bootstrap }) => (bootstrap.dcs.loop_wait = 3)),
    kinds: ["reloads"],
    says: /loop_wait: Patroni takes it within one round/,
  },
  {
    what: "a slot that is no longer kept",
    change: (stack) =>
      stack.json("postgresql-patroni", "20-dynamic.yml", ({ bootstrap }) => delete bootstrap.dcs.slots.shanghai),
    kinds: ["drops-slot"],
    says: /slot shanghai is no longer kept/,
  },
  {
    what: "who may log in to the database",
    change: (stack) =>
      stack.file("postgresql-patroni", "10-patroni.yml", (text) => text.replace("0.0.0.0/0", "10.0.0.0/8")),
    kinds: ["reloads"],
    says: /postgresql.pg_hba\[2\]: Patroni reloads/,
  },
  {
    what: "a local parameter that only a start takes",
    change: (stack) =>
      stack.file("postgresql-patroni", "10-patroni.yml", (text) =>
        text.replace("logging_collector: off", "logging_collector: on"),
      ),
    kinds: ["restarts-database"],
    says: /logging_collector takes effect at a start/,
  },
  {
    what: "how a database is made",
    change: (stack) =>
      stack.file("postgresql-patroni", "10-patroni.yml", (text) => text.replace("encoding: UTF8", "encoding: LATIN1")),
    kinds: ["nothing"],
    says: /bootstrap.initdb\[0\].encoding is read at the birth of a cluster only/,
  },
  {
    what: "the database with no members",
    change: (stack) => (stack.object("StatefulSet", POSTGRES)["spec"].replicas = 0),
    kinds: ["stops-database"],
    says: /replicas 4 → 0: none of its pods is left/,
  },
  {
    what: "one member more",
    change: (stack) => (stack.object("StatefulSet", POSTGRES)["spec"].replicas = 5),
    kinds: ["scales"],
    says: /replicas 4 → 5: pods are added/,
  },
  {
    what: "the database's volumes",
    change: (stack) =>
      (stack.object("StatefulSet", POSTGRES)["spec"].volumeClaimTemplates[0].spec.resources.requests.storage = "100Gi"),
    kinds: ["stops-database", "replaces-object"],
    says: /it is replaced: all its pods end at once/,
  },
  {
    what: "the namespace",
    change: (stack) => stack.remove("Namespace", "iam"),
    kinds: ["deletes-data"],
    says: /Namespace\/iam: it is deleted, and with it everything in the namespace/,
  },
  {
    what: "the database",
    change: (stack) => stack.remove("StatefulSet", POSTGRES),
    kinds: ["stops-database"],
    says: /it is deleted: all its pods end; the data on its pods' volumes stays/,
  },
  {
    what: "a Service that Patroni keeps its state under",
    change: (stack) => stack.remove("Service", "postgresql-config"),
    kinds: ["deletes-data", "cuts-connections"],
    says: /which Patroni keeps in the Endpoints/,
  },
  {
    what: "Redis' configuration, with the checksum on its pods",
    change: (stack) => {
      stack.file("redis-config", "redis.conf", (text) =>
        text.replace("cluster-node-timeout 5000", "cluster-node-timeout 6000"),
      );
      stack.object("StatefulSet", "redis-beijing")["spec"].template.metadata.annotations["iam-ha/config-sha256"] =
        "other";
    },
    kinds: ["restarts-redis", "nothing"],
    says: /StatefulSet\/redis-beijing: .*hands over to its replica/,
  },
  {
    what: "Redis' configuration without it",
    change: (stack) => stack.file("redis-config", "redis.conf", (text) => text.replace("maxclients", "# maxclients")),
    kinds: ["later"],
    says: /redis.conf: Redis reads it at the start of its pod, and no pod is replaced/,
  },
  {
    what: "the pooler's pods",
    change: image("Deployment", "pgbouncer"),
    kinds: ["cuts-connections"],
    says: /Deployment\/pgbouncer: .*clients that stay connected are cut/,
  },
  {
    what: "a pool",
    change: (stack) =>
      stack.file("pgbouncer-config", "pgbouncer.ini", (text) => text.replace(" pool_size=20 ", " pool_size=30 ")),
    kinds: ["reloads"],
    says: /pgbouncer.ini: PgBouncer reloads; no client is disconnected/,
  },
  {
    what: "a setting of the pooler that only a start takes",
    change: (stack) =>
      stack.file("pgbouncer-config", "pgbouncer.ini", (text) =>
        text.replace("listen_port = 6432", "listen_port = 6433"),
      ),
    kinds: ["later", "reloads"],
    says: /listen_port: PgBouncer takes it at a start only/,
  },
  {
    what: "HAProxy's configuration, which rolls the pooler",
    change: (stack) => {
      stack.file("pgbouncer-haproxy", "haproxy.cfg", (text) => text.replace("retries 2", "retries 3"));
      stack.object("Deployment", "pgbouncer")["spec"].template.metadata.annotations["iam-ha/haproxy-checksum"] =
        "other";
    },
    kinds: ["cuts-connections", "nothing"],
    says: /template changes/,
  },
  {
    what: "NGINX's configuration",
    change: (stack) => stack.file("edge", "proxy.conf", (text) => `${text}# more\n`),
    kinds: ["reloads"],
    says: /proxy.conf: NGINX checks the new configuration and reloads/,
  },
  {
    what: "the edge's pods",
    change: image("Deployment", "edge"),
    kinds: ["cuts-connections"],
    says: /Deployment\/edge: .*requests under way finish.*80 s to end/,
  },
  {
    what: "the order of the edge's variables",
    change: (stack) =>
      (stack.object("Deployment", "edge")["spec"].template.spec.containers[0].env as unknown[]).reverse(),
    kinds: ["cuts-connections"],
    says: /spec.containers\[nginx\].env/,
  },
  {
    what: "the API's pods",
    change: image("StatefulSet", "iam-api"),
    kinds: ["restarts"],
    says: /API pods are replaced one at a time/,
  },
  {
    what: "a Deployment's selector",
    change: (stack) => (stack.object("Deployment", "global-dns")["spec"].selector.matchLabels.extra = "x"),
    kinds: ["replaces-object", "restarts"],
    says: /spec.selector.matchLabels.extra cannot be changed/,
  },
  {
    what: "a Service's cluster address",
    change: (stack) => (stack.object("Service", "redis")["spec"].clusterIP = "10.0.0.9"),
    kinds: ["cuts-connections", "replaces-object"],
    says: /its name leads nowhere until the new one is there/,
  },
  {
    what: "whom a Service leads to",
    change: (stack) => (stack.object("Service", "pgbouncer")["spec"].selector["app.kubernetes.io/name"] = "other"),
    kinds: ["cuts-connections"],
    says: /new connections are led by the new rule/,
  },
  {
    what: "a role's subject rules",
    change: (stack) => (stack.object("RoleBinding", "postgresql")["roleRef"].name = "other"),
    kinds: ["replaces-object", "access"],
    says: /roleRef.name cannot be changed/,
  },
  {
    what: "who may talk to the database",
    change: (stack) => (stack.object("NetworkPolicy", "postgresql")["spec"].ingress as unknown[]).pop(),
    kinds: ["access"],
    says: /NetworkPolicy\/postgresql: .*in effect at once/,
  },
  {
    what: "the active region",
    change: (stack) =>
      stack.json("region-controller", "region.json", (file) => {
        file.regions.beijing.initiallyActive = false;
        file.regions.shanghai.initiallyActive = true;
      }),
    kinds: ["active-region", "later"],
    says: /region.json: initially active beijing → shanghai/,
  },
  {
    what: "this region's role",
    change: (stack) => stack.json("region-controller", "region.json", (file) => (file.role = "standby")),
    kinds: ["active-region", "later"],
    says: /this region's role active → standby/,
  },
  {
    what: "a file that no longer says who is active",
    change: (stack) => stack.file("region-controller", "region.json", () => "{}"),
    kinds: ["active-region", "later"],
    says: /does not say who is active/,
  },
  {
    what: "labels alone",
    change: (stack) => (stack.object("ConfigMap", "edge")["metadata"].labels.extra = "x"),
    kinds: ["nothing"],
    says: /labels and annotations of the object alone/,
  },
  {
    what: "a budget",
    change: (stack) => (stack.object("PodDisruptionBudget", "redis")["spec"].maxUnavailable = 2),
    kinds: ["nothing"],
    says: /no pod and no connection is touched/,
  },
];

describe("effects of a change on what runs", () => {
  for (const { what, change, kinds: expected, says } of CASES) {
    it(`${what}: ${expected.join(", ")}`, async () => {
      const real = await changed(change);
      assert.deepEqual(kinds(real), expected, JSON.stringify(real.effects, null, 1));
      assert.match(reasons(real, expected[0]!), says);
    });
  }

  it("deletes data where the set's volumes go with it, by the retention of before", async () => {
    const retention = (policy: string) => (stack: ChangedStack) =>
      (stack.object("StatefulSet", POSTGRES)["spec"].persistentVolumeClaimRetentionPolicy.whenDeleted = policy);
    const replaced = (stack: ChangedStack) => (stack.object("StatefulSet", POSTGRES)["spec"].serviceName = "other");
    const lost = await changed(replaced, { base: retention("Delete") });
    assert.match(reasons(lost, "deletes-data"), /it is replaced, and the data on its pods' volumes goes with it/);
    const deleted = await changed((stack) => stack.remove("StatefulSet", POSTGRES), { base: retention("Delete") });
    assert.deepEqual(kinds(deleted), ["deletes-data", "stops-database"]);
    const kept = await changed((stack) => {
      replaced(stack);
      retention("Delete")(stack);
    });
    assert.ok(!kinds(kept).includes("deletes-data"), JSON.stringify(kept.effects));
  });

  it("leaves pods alone where only a person's deletion replaces them", async () => {
    const real = await changed(image("StatefulSet", POSTGRES), {
      base: (stack) => (stack.object("StatefulSet", POSTGRES)["spec"].updateStrategy = { type: "OnDelete" }),
    });
    assert.deepEqual(kinds(real), ["later"]);
  });

  it("says nothing where nothing changes, and something of each change", async () => {
    assert.deepEqual(await changed(() => {}), { changes: [], effects: [] });
    for (const { change } of CASES) {
      const { changes, effects } = await changed(change);
      for (const { id } of changes)
        assert.ok(
          effects.some(({ object }) => object === `${id.kind}/${id.name}`),
          id.name,
        );
    }
  });

  it("knows of each typed parameter whether it takes a restart, as its description says", () => {
    for (const [name, schema] of Object.entries(postgresParameters.shape)) {
      // The description stands on the default's wrapper.
      const restart = /; restart$/.test(schema.description ?? "");
      // These two have one value, so they never change.
      if (["hot_standby", "wal_log_hints"].includes(name)) continue;
      assert.equal(parameterTakes(name), restart ? "restart" : "reload", name);
    }
  });
});
