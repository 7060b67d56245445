import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { imageRoot } from "../support/image-root.ts";
import { FakePatroni, PASSWORDS, PodFiles, RunningReconciler } from "../support/reconciler.ts";

describe("the reconciler in the image, with a Patroni that only listens", function () {
  this.timeout(60_000);
  let root: string;
  let files: PodFiles;
  let patroni: FakePatroni;
  let reconciler: RunningReconciler | undefined;

  before(async function () {
    this.timeout(15 * 60_000);
    root = await imageRoot("postgres");
  });
  beforeEach(async () => {
    files = await PodFiles.make();
    patroni = await FakePatroni.start(files);
  });
  afterEach(async () => {
    await reconciler?.stop();
    await patroni.stop();
    await files.remove();
  });

  const start = () => (reconciler = new RunningReconciler(root, files, { IAM_HA_PATRONI_URL: patroni.url }));
  const count = (text: string) => patroni.seen.filter((line) => line.startsWith(text)).length;

  it("reloads once at its start, and patches the configuration until it is as desired", async () => {
    patroni.config = { ttl: 30, pause: true, standby_cluster: { host: "elsewhere" } };
    const running = start();
    await running.until("the patch", () => patroni.config["ttl"] === 20);
    await files.desire({ loop_wait: 2, postgresql: { parameters: { work_mem: "8MB" } } });
    await running.until("the second patch", () => patroni.config["loop_wait"] === 2);
    const { iam_ha_managed: managed, ...rest } = patroni.config;
    assert.deepEqual(managed, ["loop_wait", "postgresql/parameters/work_mem"]);
    assert.deepEqual(rest, {
      loop_wait: 2,
      pause: true,
      standby_cluster: { host: "elsewhere" },
      postgresql: { parameters: { work_mem: "8MB" } },
    });
    await sleep(1000);
    assert.deepEqual([count("POST /reload"), count("PATCH /config")], [1, 2], patroni.seen.join("\n"));
  });

  it("leaves the configuration to the leader", async () => {
    patroni.me = { state: "running", role: "replica" };
    // Without a leader that it could ask about the password, it does not even reload.
    const running = start();
    await running.until("a word on why", () => running.events.some(({ event }) => event === "reload put off"));
    await sleep(500);
    assert.deepEqual(patroni.seen, []);
  });

  it("does nothing while PostgreSQL is not running", async () => {
    patroni.me = { state: "starting", role: "standby_leader" };
    start();
    await sleep(1500);
    assert.deepEqual(patroni.seen, []);
    patroni.me = { state: "running", role: "standby_leader" };
    await reconciler!.until("the reload", () => count("POST /reload") === 1);
  });

  it("reloads when the certificate or the local configuration changes", async () => {
    const running = start();
    await running.until("the first reload", () => count("POST /reload") === 1);
    await files.write("config/10-patroni.yml", "scope: test\nlog: {level: DEBUG}\n");
    await running.until("the second reload", () => count("POST /reload") === 2);
    await files.renewCertificate();
    await running.until("the third reload", () => count("POST /reload") >= 3);
  });

  it("gets in with the API's old password until Patroni has reloaded, even after a restart of its own", async () => {
    await start().until("the first reload", () => count("POST /reload") === 1);
    await reconciler!.stop();
    const changed = "rest-password-2";
    patroni.nextPassword = changed;
    await files.setPasswords({ ...PASSWORDS, restApi: changed });
    const running = start();
    await running.until("the reload with the old password", () => count("POST /reload") === 2);
    assert.equal(patroni.password, changed);
    await files.desire({ ttl: 25 });
    await running.until("a patch with the new password", () => patroni.config["ttl"] === 25);
    assert.doesNotMatch(running.log, /rest-password/);
  });

  it("says once, and without the password, that no password is accepted", async () => {
    patroni.password = "quite-another-one";
    const running = start();
    await running.until("the complaint", () => running.events.some(({ event }) => event === "step failed"));
    await sleep(1000);
    const complaints = running.events.filter(({ event, step }) => event === "step failed" && step === "reload");
    assert.equal(complaints.length, 1);
    assert.match(String(complaints[0]!["cause"]), /neither the configured nor the last password is accepted/);
    assert.ok(patroni.refused > 1, "it did not try again");
    assert.doesNotMatch(running.log, /rest-password/);
  });

  it("restarts a member that needs it when the quiet time is over, unless that is for people to do", async () => {
    patroni.members[0]!.pending_restart = true;
    await files.configure({ rolling_restarts: false });
    const running = start();
    await running.until("the patch", () => count("PATCH") === 1);
    await sleep(2500);
    assert.equal(count("POST /restart"), 0);
    await files.configure({ rolling_restarts: true });
    await running.until("the restart", () => count("POST /restart") === 1);
    assert.match(patroni.seen.at(-1)!, /"restart_pending": true/);
    await sleep(500);
    assert.equal(count("POST /restart"), 1);
  });

  it("restarts nobody while the cluster is paused", async () => {
    patroni.members[0]!.pending_restart = true;
    patroni.me.pause = true;
    await start().until("the patch", () => count("PATCH") === 1);
    await sleep(2500);
    assert.equal(count("POST /restart"), 0);
  });

  it("goes on when Patroni comes back, and starts again when its own programs change", async () => {
    const running = start();
    await running.until("the first reload", () => count("POST /reload") === 1);
    await files.write(
      "scripts/rules.py",
      `# another version\n${await readFile(`${files.folder}/scripts/rules.py`, "utf8")}`,
    );
    await running.until("its restart", () => running.events.some(({ event }) => event === "starting again"));
    await running.until("the reload after that", () => count("POST /reload") === 2);
  });

  it("ends at once when it is told to", async () => {
    const running = start();
    await running.until("the first reload", () => count("POST /reload") === 1);
    const { code, ms } = await running.stop();
    assert.equal(code, 0);
    assert.ok(ms < 5000, `${ms} ms`);
  });
});
