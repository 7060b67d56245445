import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { edge, kubectl, kubectlJson, place, waitFor } from "./region.ts";

const SECURITY = {
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "x-xss-protection": "1; mode=block",
  "strict-transport-security": "max-age=31536000; includeSubDomains",
};

interface Pods {
  items: {
    metadata: { name: string; deletionTimestamp?: string };
    status: { conditions: { type: string; status: string }[]; containerStatuses: { restartCount: number }[] };
  }[];
}

/** Ready pods of the edge that are not about to end. */
async function readyPods(): Promise<Pods["items"]> {
  const { items } = await kubectlJson<Pods>(["get", "pods", "-l", "app.kubernetes.io/name=edge"]);
  return items.filter(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined &&
      status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"),
  );
}

/** The limits of one address are this machine's: each test lets them recover. */
const recover = () => sleep(2500);

describe("the edge of a running region", function () {
  this.timeout(180_000);

  it("has as many ready pods as it should, none of which had to start twice", async () => {
    const { spec } = await kubectlJson<{ spec: { replicas: number } }>(["get", "deployment", "edge"]);
    const pods = await waitFor("all edge pods are ready", async () => {
      const ready = await readyPods();
      return ready.length === spec.replicas ? ready : undefined;
    });
    for (const { metadata, status } of pods) assert.equal(status.containerStatuses[0]!.restartCount, 0, metadata.name);
  });

  it("serves /health, and the API over HTTPS with every security header", async () => {
    const health = await edge("/health");
    assert.equal(health.status, 200);
    assert.equal(health.body, "healthy\n");
    const answer = await edge("/api/auth/session");
    assert.equal(answer.status, 401, "the API itself answers: nobody is logged in");
    for (const [name, value] of Object.entries(SECURITY)) {
      assert.equal(health.headers[name], value);
      assert.equal(answer.headers[name], value);
    }
  });

  it("sends plain HTTP to HTTPS", async () => {
    const { edge: at } = place();
    assert.ok(at);
    const [status, location] = await new Promise<[number | undefined, string | undefined]>((resolve, reject) => {
      const call = httpRequest(
        {
          host: at.address,
          port: at.httpPort,
          path: "/api/users?page=2",
          headers: { host: "api-beijing.iam.example.com" },
          agent: false,
          timeout: 10_000,
        },
        (response) => {
          response.resume();
          resolve([response.statusCode, response.headers.location]);
        },
      );
      call.once("timeout", () => call.destroy(new Error("no answer in time")));
      call.once("error", reject);
      call.end();
    });
    assert.equal(status, 301);
    assert.match(location!, /^https:\/\/api-beijing\.iam\.example\.com(:[0-9]+)?\/api\/users\?page=2$/);
  });

  it("refuses hosts it does not know", async () => {
    const answer = await edge("/api/users", { headers: { host: "evil.example" } });
    assert.equal(answer.status, 421);
  });

  it("limits a client to the design's rates, and says so in JSON", async () => {
    await recover();
    const { spec } = await kubectlJson<{ spec: { replicas: number } }>(["get", "deployment", "edge"]);
    // Every pod counts for itself, so the flood is as many times larger as there are pods.
    for (const { path, method, burst, rate } of [
      { path: "/api/auth/session", method: "GET", burst: 20, rate: 10 },
      { path: "/api/auth/login", method: "POST", burst: 10, rate: 5 },
    ]) {
      const began = performance.now();
      const body = method === "POST" ? { username: "nobody", password: "not-the-password" } : undefined;
      const answers = await Promise.all(
        Array.from({ length: 60 * spec.replicas }, () =>
          // Each login that is let through costs the API a quarter of a second of CPU.
          edge(path, { method, timeoutMs: 50_000, ...(body ? { body } : {}) }),
        ),
      );
      const seconds = (performance.now() - began) / 1000;
      const refused = answers.filter(({ status }) => status === 429);
      const served = answers.length - refused.length;
      assert.ok(served >= burst + 1, `${served} served at ${path}`);
      assert.ok(
        served <= spec.replicas * (burst + 1 + rate * seconds + 1),
        `${served} served at ${path} in ${seconds} s`,
      );
      for (const { headers, body: text } of refused) {
        assert.equal(headers["retry-after"], "1");
        assert.equal(headers["content-type"], "application/json");
        assert.equal((JSON.parse(text) as { error: { code: string } }).error.code, "too_many_requests");
        for (const [name, value] of Object.entries(SECURITY)) assert.equal(headers[name], value);
      }
      assert.ok(refused.length > 0);
      await recover();
    }
  });

  it("keeps serving while one of its pods is taken away, and gets another", async () => {
    const before = await readyPods();
    assert.ok(before.length >= 2, "needs two pods");
    const victim = before[0]!.metadata.name;
    let stop = false;
    const failures: string[] = [];
    let asked = 0;
    const client = (async () => {
      while (!stop) {
        asked += 1;
        await edge("/health").then(
          ({ status }) => void (status === 200 || failures.push(String(status))),
          (error: unknown) => void failures.push(error instanceof Error ? error.message : String(error)),
        );
        await sleep(50);
      }
    })();
    await kubectl(["delete", "pod", victim, "--wait=false"]);
    await waitFor(
      "another pod is ready",
      async () => {
        const now = await readyPods();
        return now.length >= before.length && now.every(({ metadata }) => metadata.name !== victim) ? now : undefined;
      },
      90_000,
    );
    stop = true;
    await client;
    assert.ok(asked > 20);
    assert.deepEqual(failures, []);
  });
});
