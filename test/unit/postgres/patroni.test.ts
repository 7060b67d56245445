import assert from "node:assert/strict";
import fc from "fast-check";
import { parse } from "yaml";
import { RESERVED_PARAMETERS } from "../../../components/postgres/parameters.ts";
import {
  configFiles,
  CONFIG_FILES,
  credentialsConfig,
  dynamicConfig,
  hbaRules,
  localConfig,
  reconcilerConfig,
} from "../../../components/postgres/patroni.ts";
import { scriptFiles } from "../../../components/postgres/scripts.ts";
import { postgresSettings } from "../../../components/postgres/settings.ts";
import { regionContext } from "../../support/context.ts";

const context = regionContext();
const settings = postgresSettings.parse({});
const passwords = { superuser: "s", replication: "r", rewind: "w", application: "a", monitor: "m", restApi: "p" };

type Local = {
  postgresql: { parameters: Record<string, string>; pg_hba: string[] };
  kubernetes: Record<string, unknown>;
  restapi: Record<string, unknown>;
  bootstrap: { initdb: unknown[] };
};
const local = (input: unknown = {}) => localConfig(context, postgresSettings.parse(input)) as unknown as Local;

describe("Patroni's configuration", () => {
  it("shares timings, quorum replication and slots by the dynamic configuration", () => {
    const dynamic = dynamicConfig(settings, ["shanghai", "south-1"]);
    assert.equal(dynamic["ttl"], 20);
    assert.equal(dynamic["loop_wait"], 2);
    assert.equal(dynamic["retry_timeout"], 3);
    assert.equal(dynamic["primary_start_timeout"], 0);
    assert.equal(dynamic["failsafe_mode"], true);
    assert.equal(dynamic["synchronous_mode"], "quorum");
    assert.equal(dynamic["synchronous_node_count"], 1);
    assert.deepEqual(dynamic.slots, {
      iam_replica_slot: { type: "physical" },
      shanghai: { type: "physical" },
      south_1: { type: "physical" },
    });
    assert.equal(dynamic.postgresql["use_pg_rewind"], true);
    assert.equal(dynamic.postgresql["use_slots"], true);
    assert.equal(dynamic.postgresql.parameters["wal_retrieve_retry_interval"], "500ms");
    assert.equal(
      dynamicConfig(postgresSettings.parse({ synchronous: { mode: "priority" } }), [])["synchronous_mode"],
      true,
    );
    assert.equal(
      dynamicConfig(postgresSettings.parse({ synchronous: { mode: "off" } }), [])["synchronous_mode"],
      false,
    );
  });

  it("never has a word on what is turned at run time", () => {
    const names = fc.dictionary(fc.stringMatching(/^[a-z][a-z_]{0,20}$/), fc.string());
    fc.assert(
      fc.property(names, (extraParameters) => {
        const result = postgresSettings.safeParse({ extraParameters });
        if (!result.success) return;
        const dynamic = dynamicConfig(result.data, ["shanghai"]);
        for (const key of ["standby_cluster", "pause"]) assert.ok(!(key in dynamic));
        assert.ok(!("default_transaction_read_only" in dynamic.postgresql.parameters));
      }),
    );
  });

  it("sets each parameter in one place only", () => {
    const fixed = Object.keys(local().postgresql.parameters);
    const chosen = Object.keys(dynamicConfig(settings, []).postgresql.parameters);
    assert.deepEqual(
      fixed.filter((name) => chosen.includes(name)),
      [],
    );
    for (const name of ["ssl", "password_encryption", "logging_collector", "unix_socket_directories"]) {
      assert.ok(name in RESERVED_PARAMETERS, name);
    }
  });

  it("lets nobody in without TLS and password, and each role only where it belongs", () => {
    const rules = hbaRules(postgresSettings.parse({ clientNetworks: ["10.0.0.0/8", "fd00::/8"] }), [
      "10.0.0.0/8",
      "172.16.0.0/12",
    ]);
    assert.deepEqual(rules, [
      "local all postgres peer",
      "local replication replicator scram-sha-256",
      "hostssl replication replicator 10.0.0.0/8 scram-sha-256",
      "hostssl replication replicator fd00::/8 scram-sha-256",
      "hostssl replication replicator 172.16.0.0/12 scram-sha-256",
      "hostssl postgres rewind 10.0.0.0/8 scram-sha-256",
      "hostssl postgres rewind fd00::/8 scram-sha-256",
      "hostssl postgres rewind 172.16.0.0/12 scram-sha-256",
      "hostssl iam,postgres monitor 10.0.0.0/8 scram-sha-256",
      "hostssl iam,postgres monitor fd00::/8 scram-sha-256",
      "hostssl iam iam_app 10.0.0.0/8 scram-sha-256",
      "hostssl iam iam_app fd00::/8 scram-sha-256",
    ]);
    for (const rule of rules) assert.doesNotMatch(rule, /trust|md5|password|^host /);
  });

  it("has TLS on the database and on the API, and checks servers by name", () => {
    const { postgresql, restapi } = local();
    assert.equal(postgresql.parameters["ssl"], "on");
    assert.equal(postgresql.parameters["ssl_min_protocol_version"], "TLSv1.3");
    assert.equal(restapi["certfile"], "/etc/postgresql/tls/tls.crt");
    const secret = credentialsConfig(passwords) as {
      postgresql: { authentication: Record<string, Record<string, string>> };
      restapi: { authentication: Record<string, string> };
    };
    for (const role of ["superuser", "replication", "rewind"]) {
      assert.equal(secret.postgresql.authentication[role]!["sslmode"], "verify-full");
      assert.equal(secret.postgresql.authentication[role]!["sslrootcert"], "/etc/postgresql/tls/ca.crt");
    }
    assert.equal(secret.restapi.authentication["password"], "p");
  });

  it("initialises with checksums and without a locale that another libc would sort otherwise", () => {
    const { initdb } = local().bootstrap;
    assert.ok(initdb.includes("data-checksums"));
    assert.ok(initdb.some((o) => JSON.stringify(o) === '{"locale-provider":"builtin"}'));
  });

  it("keeps passwords out of the files that are no secret", () => {
    const marked = credentialsConfig({ ...passwords, superuser: "MARK1", restApi: "MARK2" });
    assert.match(JSON.stringify(marked), /MARK1/);
    const open = JSON.stringify({ ...configFiles(context, settings, ["shanghai"]), ...scriptFiles(settings) });
    assert.doesNotMatch(open, /"password":|password: /);
  });

  it("writes files that read back as what was meant", () => {
    const files = configFiles(context, settings, ["shanghai"]);
    assert.deepEqual(parse(files[CONFIG_FILES.local]!), localConfig(context, settings));
    const read = JSON.parse(files[CONFIG_FILES.dynamic]!) as { bootstrap: { dcs: unknown } };
    assert.deepEqual(read.bootstrap.dcs, { iam_ha_region: "beijing", ...dynamicConfig(settings, ["shanghai"]) });
  });

  it("gives the reconciler what it needs", () => {
    assert.deepEqual(reconcilerConfig(postgresSettings.parse({ reconciler: { restarts: "manual" } })), {
      interval_seconds: 5,
      rolling_restarts: false,
      quiet_seconds: 36,
      members: 4,
      max_lag_bytes: 16_777_216,
      rebuild_after_seconds: 30,
      clone_method: "iam_ha_clone",
      application: { user: "iam_app", database: "iam" },
    });
    assert.deepEqual(Object.keys(scriptFiles(settings)).sort(), [
      "birth.py",
      "clone.py",
      "patroni_api.py",
      "pod.py",
      "rebuild.py",
      "reconciler.json",
      "reconciler.py",
      "roles.py",
      "rules.py",
      "source.py",
      "start.py",
    ]);
  });
});
