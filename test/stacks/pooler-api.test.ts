import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { ApiTier } from "../../components/api/api-tier.ts";
import { apiSettings } from "../../components/api/settings.ts";
import { imageSettings } from "../../components/common/images.ts";
import { ConnectionPooler } from "../../components/pooler/connection-pooler.ts";
import { poolerSettings } from "../../components/pooler/settings.ts";
import { collect, UNKNOWN, type Collected, type RegisteredResource } from "../../scripts/render/collect.ts";
import { regionContext } from "../support/context.ts";

const PASSWORDS = {
  application: "application_pass_1",
  stats: "statistics_pass_1",
  redis: "redis_password_1",
  admin: "administrator_1",
};
const context = regionContext({ clusterDomain: "cluster.beijing", images: imageSettings.parse({ tag: "1.2.3" }) });

interface Container {
  name: string;
  image: string;
  args?: string[];
  env?: { name: string; value?: string }[];
  restartPolicy?: string;
  securityContext: Record<string, unknown>;
  [key: string]: unknown;
}
interface PodSpec {
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds: number;
  hostAliases?: { ip: string; hostnames: string[] }[];
  initContainers?: Container[];
  containers: Container[];
}

/** Both components in one program. `unknown`: the passwords are only known when they are made, as in a first preview. */
function run(
  options: { preview?: boolean; unknown?: boolean; api?: object; pooler?: object } = {},
): Promise<Collected> {
  const secret = (text: string) => pulumi.secret(options.unknown ? (pulumi.unknown as string) : text);
  const program = async () => {
    const provider = new k8s.Provider("beijing", { context: "none" });
    const opts = { providers: [provider] };
    const application = secret(PASSWORDS.application);
    const pooler = new ConnectionPooler(
      "beijing-pooler",
      {
        context,
        settings: poolerSettings.parse(options.pooler ?? {}),
        postgres: { replicas: 4, maxReplicaLagBytes: 16_777_216, application: { user: "iam_app", database: "iam" } },
        tlsSecret: "pooler-tls",
        passwords: { application, stats: secret(PASSWORDS.stats) },
      },
      opts,
    );
    const api = new ApiTier(
      "beijing-api",
      {
        context,
        settings: apiSettings.parse(options.api ?? {}),
        tlsSecret: "api-tls",
        pooler: { host: pooler.host, port: pooler.port, user: "iam_app" },
        redis: { host: "redis", port: 6379, user: "iam" },
        passwords: { application, redis: secret(PASSWORDS.redis), admin: secret(PASSWORDS.admin) },
      },
      opts,
    );
    return { host: pooler.host, port: pooler.port, upstream: api.upstream, podNames: api.podNames };
  };
  return collect(program, { stack: "beijing", preview: options.preview ?? false });
}

const objects = ({ resources }: Collected) =>
  resources.filter(({ type }) => type.startsWith("kubernetes:") && !type.includes("provider"));
const metadataOf = (resource: RegisteredResource) =>
  resource.inputs["metadata"] as { name: string; annotations?: Record<string, string> };
function find(all: Collected, kind: string, name: string): RegisteredResource {
  const found = all.resources.filter(
    (resource) => resource.type.endsWith(`:${kind}`) && metadataOf(resource).name === name,
  );
  assert.equal(found.length, 1, `${kind} ${name}`);
  return found[0]!;
}
const podOf = (resource: RegisteredResource) =>
  (resource.inputs["spec"] as { template: { spec: PodSpec } }).template.spec;

for (const preview of [false, true]) {
  describe(`ConnectionPooler and ApiTier, ${preview ? "in a preview" : "when applied"}`, () => {
    let all: Collected;
    before(async () => {
      all = await run({ preview });
    });

    it("give plain outputs, as the edge needs them before anything is there", () => {
      assert.deepEqual(all.outputs, {
        host: "pgbouncer",
        port: 6432,
        upstream: { servers: ["iam-api-1", "iam-api-2", "iam-api-3"], port: 3000, tls: true },
        podNames: ["iam-api-1", "iam-api-2", "iam-api-3"],
      });
    });

    it("have their objects under the component and at the region's own provider", () => {
      assert.equal(objects(all).length, 17);
      for (const resource of objects(all)) {
        assert.match(resource.parent, /::(beijing-pooler|beijing-api)$/);
        assert.match(resource.provider, /pulumi:providers:kubernetes::beijing::/);
      }
    });

    it("keep every password secret, and in Secrets alone", () => {
      for (const resource of objects(all)) {
        const isSecret = resource.type.endsWith(":Secret");
        const text = JSON.stringify(resource.inputs);
        for (const password of Object.values(PASSWORDS)) assert.ok(isSecret || !text.includes(password), resource.urn);
        if (isSecret)
          assert.ok(
            resource.secretPaths.some(([first]) => first === "stringData"),
            resource.urn,
          );
      }
      const users = find(all, "Secret", "pgbouncer-users").inputs["stringData"] as Record<string, string>;
      assert.equal(
        users["userlist.txt"],
        `"iam_app" "${PASSWORDS.application}"\n"pooler_stats" "${PASSWORDS.stats}"\n`,
      );
    });

    it("have restricted containers, a token nowhere, and time to drain", () => {
      for (const [pod, longest] of [
        [podOf(find(all, "Deployment", "pgbouncer")), 75],
        [podOf(find(all, "StatefulSet", "iam-api")), 10],
      ] as const) {
        assert.equal(pod.automountServiceAccountToken, false);
        assert.ok(pod.terminationGracePeriodSeconds > longest);
        for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
          assert.equal(container.securityContext["readOnlyRootFilesystem"], true);
          assert.equal(container.securityContext["allowPrivilegeEscalation"], false);
          assert.ok(container["livenessProbe"] && container["resources"], container.name);
        }
      }
    });
  });
}

describe("ConnectionPooler", () => {
  it("starts HAProxy before PgBouncer and ends it after, and sends the database's names to it", async () => {
    const pod = podOf(find(await run(), "Deployment", "pgbouncer"));
    assert.deepEqual(
      pod.initContainers?.map(({ name, restartPolicy }) => [name, restartPolicy]),
      [["haproxy", "Always"]],
    );
    assert.deepEqual(pod.hostAliases, [{ ip: "127.0.0.2", hostnames: ["postgresql", "postgresql-replicas"] }]);
  });

  it("names every database pod as the region's cluster does", async () => {
    const { "haproxy.cfg": text } = find(await run(), "ConfigMap", "pgbouncer-haproxy").inputs["data"] as Record<
      string,
      string
    >;
    const hosts = new Set([...text!.matchAll(/^ {2}server (\S+) (\S+):5432/gm)].map((match) => match[2]));
    assert.deepEqual(
      [...hosts],
      [0, 1, 2, 3].map((i) => `postgresql-beijing-${i}.postgresql-nodes.iam.svc.cluster.beijing`),
    );
  });

  it("rolls out a change of HAProxy's configuration, and only that", async () => {
    const annotation = async (pooler: object) => {
      const spec = find(await run({ pooler }), "Deployment", "pgbouncer").inputs["spec"] as {
        template: { metadata: object };
      };
      return JSON.stringify(spec.template.metadata);
    };
    const base = await annotation({});
    assert.equal(await annotation({ write: { max: 11 }, maxClientConnections: 500 }), base);
    assert.notEqual(await annotation({ readBalance: "leastconn" }), base);
  });

  it("does not need to know the passwords in a preview", async () => {
    const all = await run({ preview: true, unknown: true });
    assert.equal(find(all, "Secret", "pgbouncer-users").inputs["stringData"], UNKNOWN);
    assert.ok(find(all, "Deployment", "pgbouncer"));
  });
});

describe("ApiTier", () => {
  it("has a Service for each pod, by the pod's own name, that the engine does not wait for", async () => {
    const all = await run({ api: { replicas: 2 } });
    for (const name of ["iam-api-1", "iam-api-2"]) {
      const service = find(all, "Service", name);
      const { selector } = service.inputs["spec"] as { selector: Record<string, string> };
      assert.equal(selector["statefulset.kubernetes.io/pod-name"], name);
      assert.equal(metadataOf(service).annotations?.["pulumi.com/skipAwait"], "true");
    }
    assert.deepEqual((find(all, "StatefulSet", "iam-api").inputs["spec"] as { ordinals: object }).ordinals, {
      start: 1,
    });
  });

  it("takes an image of one's own, without TLS, and gives it no certificate to speak it with", async () => {
    const all = await run({ api: { image: "registry.example.com/own:1", tls: false, port: 8080 } });
    assert.deepEqual(all.outputs["upstream"], {
      servers: ["iam-api-1", "iam-api-2", "iam-api-3"],
      port: 8080,
      tls: false,
    });
    const [container] = podOf(find(all, "StatefulSet", "iam-api")).containers;
    assert.equal(container?.image, "registry.example.com/own:1");
    const names = container?.env?.map(({ name }) => name) ?? [];
    assert.ok(!names.includes("TLS_CERT_FILE") && names.includes("CA_FILE"));
    assert.equal((container?.["livenessProbe"] as { httpGet: { scheme: string } }).httpGet.scheme, "HTTP");
  });
});
