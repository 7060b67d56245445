import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { daemonProcesses, readCgroupLayout } from "../../scripts/local/effects/cgroup.ts";
import { buildGo } from "../../scripts/local/effects/gobuild.ts";
import { programArchive, type ImageArchive } from "../../scripts/local/effects/images.ts";
import { planInstance } from "../../scripts/local/plan/instance.ts";
import { isShim } from "../../scripts/local/plan/process.ts";
import { planRegion } from "../../scripts/local/plan/regions.ts";
import {
  contextName,
  downRegions,
  importImages,
  killDaemon,
  kubeconfigPath,
  kubectlPath,
  regionStatus,
  runInRegion,
  upRegions,
} from "../../scripts/local/index.ts";

const INSTANCE = { instance: "test-local" };
const REGION = "shanghai";
const NAMESPACE = "probe";
const plan = planRegion(planInstance(process.env, INSTANCE.instance), REGION);

let kubectlProgram: string;
let image: ImageArchive;

/** kubectl from the host, as a user would call it. */
async function kubectl(args: readonly string[], input?: unknown): Promise<string> {
  const where = [
    `--kubeconfig=${kubeconfigPath(INSTANCE)}`,
    `--context=${contextName(REGION)}`,
    `--namespace=${NAMESPACE}`,
  ];
  const call = promisify(execFile)(kubectlProgram, [...where, ...args], { timeout: 60_000 });
  call.child.stdin!.end(input === undefined ? "" : JSON.stringify(input));
  return (await call).stdout.trim();
}

const inPod = (...argv: string[]) => kubectl(["exec", "probe-0", "--", "/probe", ...argv]);

async function waitUntil(what: string, ask: () => Promise<boolean>, timeout = 90_000): Promise<void> {
  const deadline = Date.now() + timeout;
  let last = "";
  while (Date.now() < deadline) {
    const answer = await ask().catch((error: Error) => ((last = error.message), false));
    if (answer) return;
    await sleep(500);
  }
  assert.fail(`waited ${timeout / 1000} s for ${what}; ${last}`);
}

const podReady = () =>
  waitUntil(
    "the pod",
    async () =>
      (await kubectl(["get", "pod", "probe-0", "-o", "jsonpath={.status.containerStatuses[0].ready}"])) === "true",
  );

/** Everything on this machine that carries the instance's name. */
async function traces(): Promise<string[]> {
  const found: string[] = [];
  const mark = "iam-ha-test-local-";
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const cgroup = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
    if (cgroup.includes(mark)) found.push(`process ${pid}`);
  }
  for (const line of (await readFile("/proc/self/mountinfo", "utf8")).split("\n")) {
    if (line.includes("iam-ha/test-local")) found.push(`mount ${line}`);
  }
  for (const name of await readdir("/run/netns").catch(() => []))
    if (name.startsWith(mark)) found.push(`netns ${name}`);
  const layout = await readCgroupLayout();
  const roots = layout.version === 2 ? [layout.root] : layout.hierarchies.map((h) => h.root);
  for (const root of roots) {
    for (const name of await readdir(root)) if (name.startsWith(mark)) found.push(`cgroup ${root}/${name}`);
  }
  for (const name of await readdir(plan.instance.run).catch(() => [])) found.push(`run ${name}`);
  return found;
}

const restricted = {
  runAsNonRoot: true,
  runAsUser: 10001,
  runAsGroup: 10001,
  fsGroup: 10001,
  seccompProfile: { type: "RuntimeDefault" },
};

function objects(): unknown {
  const labels = { app: "probe" };
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: NAMESPACE, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
      },
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "probe", namespace: NAMESPACE },
        spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
      },
      {
        apiVersion: "apps/v1",
        kind: "StatefulSet",
        metadata: { name: "probe", namespace: NAMESPACE },
        spec: {
          serviceName: "probe",
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            spec: {
              automountServiceAccountToken: false,
              securityContext: restricted,
              containers: [
                {
                  name: "probe",
                  image: image.ref,
                  args: ["wait"],
                  securityContext: {
                    allowPrivilegeEscalation: false,
                    readOnlyRootFilesystem: true,
                    capabilities: { drop: ["ALL"] },
                  },
                  volumeMounts: [{ name: "data", mountPath: "/data" }],
                },
              ],
            },
          },
          volumeClaimTemplates: [
            {
              metadata: { name: "data" },
              spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
            },
          ],
        },
      },
    ],
  };
}

/** The cluster's own promises; each test goes on from where the one before has left it. */
describe("an embedded cluster", function () {
  this.timeout(300_000);
  this.bail(true);

  before(async function () {
    this.timeout(60 * 60_000); // the first build takes minutes
    if (process.getuid?.() !== 0) this.skip();
    await downRegions("all", { ...INSTANCE, wipe: true });
    await upRegions([REGION], INSTANCE);
    kubectlProgram = await kubectlPath(INSTANCE);
    const { cache } = plan.instance;
    const build = await buildGo({ name: "probe", source: join(import.meta.dirname, "../support/probe") }, { cache });
    image = await programArchive({ cache, name: "probe", build, path: "/probe" });
  });

  after(async () => {
    await downRegions("all", { ...INSTANCE, wipe: true });
  });

  // In a cluster's test, because only here the modules are compiled already.
  for (const [module, packages] of Object.entries({ hostkit: ".", kube: "./netpol" })) {
    it(`has host programs that pass their own tests (${module})`, async () => {
      const cwd = join(import.meta.dirname, "../../scripts/local", module);
      const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "", GOWORK: "off" };
      const { stdout } = await promisify(execFile)("go", ["test", "-trimpath", "-v", packages], {
        cwd,
        env,
        timeout: 280_000,
      });
      assert.match(stdout, /^--- PASS/m);
    });
  }

  it("has a ready node with the region's labels, reached from the host", async () => {
    const node = JSON.parse(await kubectl(["get", "node", REGION, "-o", "json"])) as {
      metadata: { labels: Record<string, string> };
      status: { conditions: { type: string; status: string }[]; nodeInfo: { kubeletVersion: string } };
    };
    assert.equal(node.status.conditions.find((c) => c.type === "Ready")?.status, "True");
    assert.equal(node.metadata.labels["topology.kubernetes.io/region"], REGION);
    assert.equal(node.status.nodeInfo.kubeletVersion, "v1.34.4");
    assert.equal((await stat(kubeconfigPath(INSTANCE))).mode & 0o777, 0o600);
  });

  it("takes an image once", async () => {
    assert.deepEqual(await importImages(REGION, [image], INSTANCE), [image.ref]);
    assert.deepEqual(await importImages(REGION, [image], INSTANCE), []);
  });

  it("gives a pod that is not root a volume that it can write", async () => {
    await kubectl(["apply", "--server-side", "-f", "-"], objects());
    await podReady();
    assert.match(await inPod("id"), /^10001 10001 \[.*10001.*\]$/);
    await inPod("write", "/data/file", "kept");
    assert.equal(await inPod("read", "/data/file"), "kept");
    assert.equal(
      await kubectl(["get", "pvc", "data-probe-0", "-o", "jsonpath={.status.phase} {.spec.storageClassName}"]),
      "Bound local",
    );
  });

  it("refuses a pod that the namespace's security level forbids", async () => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "root" },
      spec: { containers: [{ name: "root", image: image.ref }] },
    };
    await assert.rejects(kubectl(["apply", "-f", "-"], pod), /violates PodSecurity "restricted:latest"/);
  });

  it("resolves its own names, in full and in short, and answers others at once", async () => {
    assert.equal(await inPod("lookup", "kubernetes.default.svc.cluster.shanghai"), plan.apiService);
    assert.match(await inPod("lookup", "probe"), /^10\.112\.\d+\.\d+$/);
    const start = Date.now();
    await assert.rejects(inPod("lookup", "www.example.com"), /no such host/);
    assert.ok(Date.now() - start < 5_000);
  });

  it("carries traffic to a service, also back to the pod it came from", async () => {
    assert.equal(await inPod("get", "http://probe"), "probe-0");
  });

  it("enforces network policies", async () => {
    const policy = (from: object[]) => ({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "callers" },
      spec: { podSelector: { matchLabels: { app: "probe" } }, policyTypes: ["Ingress"], ingress: [{ from }] },
    });
    const caller = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "caller", labels: { app: "caller" } },
      spec: {
        terminationGracePeriodSeconds: 0,
        securityContext: restricted,
        containers: [
          {
            name: "probe",
            image: image.ref,
            args: ["wait"],
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
          },
        ],
      },
    };
    const call = () => kubectl(["exec", "caller", "--", "/probe", "get", "http://probe"]);
    await kubectl(["apply", "--server-side", "-f", "-"], caller);
    await waitUntil("the caller", async () => (await call()) === "probe-0");
    await kubectl(
      ["apply", "--server-side", "-f", "-"],
      policy([{ podSelector: { matchLabels: { app: "somebody-else" } } }]),
    );
    await waitUntil("the call to be refused", () =>
      call().then(
        () => false,
        (error: Error) => /deadline|timeout/i.test(error.message),
      ),
    );
    await podReady(); // the node's own probes are always let in
    assert.equal(await inPod("get", "http://probe"), "probe-0");
    await kubectl(["apply", "--server-side", "-f", "-"], policy([{ podSelector: { matchLabels: { app: "caller" } } }]));
    await waitUntil("the call to be let in", async () => (await call()) === "probe-0");
    await kubectl(["delete", "networkpolicy/callers", "pod/caller"]);
  });

  it("keeps Secrets encrypted in etcd", async () => {
    await kubectl(["create", "secret", "generic", "hidden", "--from-literal=word=in-the-clear"]);
    const key = Buffer.from(`/registry/secrets/${NAMESPACE}/hidden`).toString("base64");
    const script = `fetch("http://127.0.0.1:2379/v3/kv/range",{method:"POST",body:JSON.stringify({key:"${key}"})}).then(r=>r.text()).then(t=>console.log(t))`;
    const { kvs } = JSON.parse(await runInRegion(REGION, [process.execPath, "-e", script], INSTANCE)) as {
      kvs: { value: string }[];
    };
    const stored = Buffer.from(kvs[0]!.value, "base64").toString("latin1");
    assert.ok(stored.startsWith("k8s:enc:secretbox:v1:key1:"));
    assert.ok(!stored.includes("in-the-clear"));
    assert.equal(
      await kubectl(["get", "secret", "hidden", "-o", "jsonpath={.data.word}"]),
      Buffer.from("in-the-clear").toString("base64"),
    );
  });

  it("has no way out", async () => {
    const text = await runInRegion(REGION, ["ip", "-j", "route", "show", "default"], INSTANCE);
    assert.deepEqual(JSON.parse(text), []);
  });

  it("starts nothing that runs", async () => {
    const before = await regionStatus(INSTANCE);
    await upRegions([REGION], INSTANCE);
    assert.deepEqual(await regionStatus(INSTANCE), before);
    assert.equal(before.find((s) => s.region === REGION)?.state, "running");
  });

  it("starts again what was killed, and leaves running pods alone", async () => {
    const started =
      "jsonpath={.status.containerStatuses[0].state.running.startedAt} {.status.containerStatuses[0].restartCount}";
    const before = await kubectl(["get", "pod", "probe-0", "-o", started]);
    for (const name of ["kubelet", "containerd", "kube-apiserver", "etcd"] as const)
      assert.ok(await killDaemon(REGION, name, INSTANCE));
    assert.equal((await regionStatus(INSTANCE)).find((s) => s.region === REGION)?.state, "degraded");
    await upRegions([REGION], INSTANCE);
    // The new kubelet has to look at its pods before it lets anybody in.
    await waitUntil("the pod to answer", async () => (await inPod("read", "/data/file")) === "kept");
    assert.equal(await kubectl(["get", "pod", "probe-0", "-o", started]), before);
  });

  it("goes on after a start that was killed half-way", async () => {
    await downRegions("all", INSTANCE);
    const cli = join(import.meta.dirname, "../../scripts/local/cli.ts");
    const env = { ...process.env, IAM_HA_INSTANCE: INSTANCE.instance };
    for (const delay of [1_000, 4_000]) {
      const child = spawn(process.execPath, [cli, "up", REGION], { env, stdio: "ignore" });
      const ended = once(child, "exit");
      await sleep(delay);
      child.kill("SIGKILL");
      await ended;
    }
    await upRegions([REGION], INSTANCE);
    await waitUntil("the file", async () => (await inPod("read", "/data/file")) === "kept");
    const { daemons } = (await regionStatus(INSTANCE)).find((s) => s.region === REGION)!;
    const running = (await daemonProcesses(await readCgroupLayout(), plan.cgroup)).filter((p) => !isShim(p));
    const known = Object.values(daemons);
    // What a daemon has started itself, iptables for an instant, is no second daemon.
    const strangers = running.filter(({ pid, parent }) => !known.includes(pid) && !known.includes(parent));
    assert.deepEqual(strangers, [], "no daemon runs twice");
  });

  it("leaves nothing behind when it is stopped, except its data", async () => {
    assert.notDeepEqual(await traces(), []);
    await downRegions("all", INSTANCE);
    assert.deepEqual(await traces(), []);
    assert.equal((await regionStatus(INSTANCE)).find((s) => s.region === REGION)?.hasData, true);
  });

  it("has its data again after a start", async () => {
    await upRegions([REGION], INSTANCE);
    await waitUntil("the file", async () => (await inPod("read", "/data/file")) === "kept");
    await waitUntil("the service", async () => (await inPod("get", "http://probe")) === "probe-0");
  });

  it("has its data again after everything was killed", async () => {
    const pids = (await traces()).filter((t) => t.startsWith("process ")).map((t) => Number(t.split(" ")[1]));
    assert.ok(pids.length > 10);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await sleep(500);
    await upRegions([REGION], INSTANCE);
    await waitUntil("the file", async () => (await inPod("read", "/data/file")) === "kept");
  });

  it("removes a volume's directory with its claim", async () => {
    const [volume] = (await readdir(plan.volumes)).filter((name) => name.startsWith("pvc-"));
    assert.ok(volume);
    await kubectl(["delete", "statefulset", "probe"]);
    await kubectl(["delete", "pvc", "data-probe-0"]);
    await waitUntil("the directory to go", async () => (await readdir(plan.volumes)).length === 0, 60_000);
  });

  it("leaves nothing at all when it is wiped", async () => {
    await downRegions("all", { ...INSTANCE, wipe: true });
    assert.deepEqual(await traces(), []);
    await assert.rejects(stat(plan.instance.state), /ENOENT/);
  });
});
