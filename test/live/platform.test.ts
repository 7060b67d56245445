import assert from "node:assert/strict";
import { applyObjects, dryRunObjects } from "../../scripts/render/apply.ts";
import { kubernetesObjects, type KubernetesObject } from "../../scripts/render/objects.ts";
import { overlaysForShow } from "../../scripts/local/values/show.ts";
import { renderStack } from "../../scripts/render/render.ts";
import { readStatus } from "../../scripts/commands/status.ts";
import { buildImages } from "../../scripts/images/index.ts";
import { accessTo } from "../../scripts/start/access.ts";
import { applySet, renderPlace } from "../../scripts/start/render-place.ts";
import { DEFAULT_REGIONS } from "../../stacks/topology.ts";
import { edge, execInPod, INSTANCE, kubectl, kubectlJson, logIn, place, waitFor } from "./region.ts";

interface Listed {
  items: {
    kind: string;
    metadata: { name: string; resourceVersion: string; generation?: number; labels?: Record<string, string> };
  }[];
}

describe("a running region, whole", function () {
  it("is healthy in every part", async () => {
    // What ran before this may have taken pods away.
    const rows = await waitFor(
      "every part healthy",
      async () => {
        const board = (await readStatus(INSTANCE)).filter((row) => row.region === place().region);
        const sick = board.filter((row) => !row.healthy).map((row) => `${row.part} ${row.pod} ${row.detail}`);
        if (sick.length > 0) throw new Error(sick.join("; "));
        return board;
      },
      90_000,
      2000,
    );
    const parts = new Set(rows.map((row) => row.part));
    for (const part of ["edge", "iam-api", "pgbouncer", "postgresql", "redis", "redis-keeper"])
      assert.ok(parts.has(part), part);
    assert.equal(rows.filter((row) => row.part === "postgresql" && row.role === "primary").length, 1);
    assert.equal(rows.filter((row) => row.part === "redis" && row.role === "master").length, 3);
    assert.equal(rows.filter((row) => row.part === "redis" && row.role === "replica").length, 3);
  });

  it("lets a person log in through https, and reads from a replica", async () => {
    const { token, readFrom } = await logIn();
    assert.ok(token.length >= 32);
    assert.equal(readFrom, "replica");
  });

  it("keeps the session in Redis: every API pod knows it, and none after the logout", async () => {
    const { token } = await logIn();
    // Least connections over three pods: nine requests meet all of them.
    for (let i = 0; i < 9; i++) {
      const { status, body } = await edge("/api/auth/session", { token });
      assert.equal(status, 200, body);
      await pause();
    }
    assert.equal((await edge("/api/auth/logout", { method: "POST", token })).status < 300, true);
    await pause();
    assert.equal((await edge("/api/auth/session", { token })).status, 401);
  });

  it("writes to the primary, and the row is on every replica", async () => {
    const { token } = await logIn();
    const username = `live-${Date.now()}`;
    const made = await edge("/api/users", {
      method: "POST",
      token,
      body: { username, password: "correct horse battery", role: "user" },
    });
    assert.equal(made.status, 201, made.body);
    const { items } = await kubectlJson<Listed>(["get", "pods", "-l", "app.kubernetes.io/name=postgresql"]);
    assert.equal(items.length, 4);
    for (const pod of items) {
      await waitFor(
        `${username} on ${pod.metadata.name}`,
        async () => {
          const sql = `select count(*) from users where username = '${username}'`;
          const out = await execInPod(pod.metadata.name, "postgres", [
            "psql",
            "-X",
            "-h",
            "/run/postgresql",
            "-U",
            "postgres",
            "-d",
            "iam",
            "-Atc",
            sql,
          ]);
          return out.trim() === "1" ? true : undefined;
        },
        15_000,
      );
    }
  });

  it("refuses a wrong password and a request without a session", async () => {
    const wrong = await edge("/api/auth/login", {
      method: "POST",
      body: { username: "admin", password: "not the password" },
    });
    assert.equal(wrong.status, 401);
    assert.match(wrong.headers["content-type"] as string, /json/);
    assert.equal((await edge("/api/users")).status, 401);
  });

  it("refuses pods that are not restricted", async () => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "unrestricted", namespace: "iam" },
      spec: { containers: [{ name: "a", image: "x:1" }] },
    };
    await assert.rejects(
      kubectl(["apply", "--dry-run=server", "-f", "-"], { stdin: JSON.stringify(pod) }),
      /violates PodSecurity "restricted/,
    );
  });
});

describe("what is applied", () => {
  const access = () => accessTo(place());

  for (const region of Object.keys(DEFAULT_REGIONS)) {
    it(`the objects of ${region} as in production are what Kubernetes' schemas and admission take`, async () => {
      const { resources } = await renderStack(region, {
        overlays: overlaysForShow(region, { embedded: false }),
        compute: (type) => (type.startsWith("random:") ? { result: "dry-run" } : undefined),
      });
      // Against objects of their own names: what runs here has other sizes in fields that cannot be changed.
      const objects = kubernetesObjects(resources)
        .filter((o) => o.kind !== "Namespace")
        .map(renamed);
      assert.equal((await dryRunObjects(access(), objects)).length, objects.length);
    });
  }

  it("is applied again without changing one object", async () => {
    const before = await versions();
    await applyObjects(access(), await renderPlace(INSTANCE, await buildImages(), place()), applySet(place()));
    assert.deepEqual(await versions(), before);
  });

  it("goes when the program no longer has it, and only that", async () => {
    const set = "iam-ha-prune-test";
    const map = (name: string): KubernetesObject => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "iam" },
      data: { a: "b" },
    });
    const names = async () =>
      (await kubectlJson<Listed>(["get", "configmaps"])).items
        .map((o) => o.metadata.name)
        .filter((name) => name.startsWith("prune-"));
    try {
      await applyObjects(access(), [map("prune-a"), map("prune-b")], { namespace: "iam", set });
      assert.deepEqual(await names(), ["prune-a", "prune-b"]);
      await applyObjects(access(), [map("prune-b")], { namespace: "iam", set });
      assert.deepEqual(await names(), ["prune-b"]);
    } finally {
      await kubectl(["delete", "configmap", "--ignore-not-found", "prune-a", "prune-b", set]);
    }
  });

  /** Versions of what the program owns; what engines write at run time (Endpoints, leases) is not in it. */
  async function versions(): Promise<Record<string, string>> {
    const kinds =
      "configmaps,secrets,services,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,deployments,statefulsets";
    const { items } = await kubectlJson<Listed>(["get", kinds, "-l", "app.kubernetes.io/managed-by=pulumi"]);
    assert.ok(items.length > 20);
    return Object.fromEntries(
      items.map(({ kind, metadata }) => [
        `${kind}/${metadata.name}`,
        // Controllers write the status of what has a generation, and that is a new version too.
        String(metadata.generation ?? metadata.resourceVersion),
      ]),
    );
  }
});

function renamed(object: KubernetesObject): KubernetesObject {
  return { ...object, metadata: { ...object.metadata, name: `dry-run-${object.metadata.name}`.slice(0, 63) } };
}

/** Below the edge's limit of 10 requests a second. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 150));
}
