/** The edge's entry script with the image's own NGINX: reloads, refusals, drain. */
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { Agent, get, type IncomingMessage } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { run } from "../../scripts/images/run.ts";
import { buildImages } from "../../scripts/images/index.ts";
import { Rootfs, type Running } from "./rootfs.ts";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

/** One request on a connection of its own. */
function request(port: number, path = "/"): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = get(
      { host: "127.0.0.1", port, path, agent: new Agent({ keepAlive: false }), timeout: 30_000 },
      (response: IncomingMessage) => {
        let body = "";
        response.on("data", (data: Buffer) => (body += data.toString()));
        response.on("end", () => (response.complete ? resolve(body) : reject(new Error("cut off"))));
        response.on("error", reject);
      },
    );
    sent.on("timeout", () => sent.destroy(new Error("timed out")));
    sent.on("error", reject);
  });
}

/** Waits until `condition` holds. */
async function until(what: string, timeoutMs: number, condition: () => Promise<boolean> | boolean): Promise<number> {
  const begin = performance.now();
  while (performance.now() - begin < timeoutMs) {
    if (await condition()) return performance.now() - begin;
    await sleep(20);
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}`);
}

describe("edge entry script", function () {
  this.timeout(60_000);
  let image: Rootfs;
  let folder: string;
  let port: number;
  let tlsPort: number;
  let edge: Running;

  const conf = (answer: string, extra = ""): string => `
    worker_processes 2;
    pid /run/nginx/nginx.pid;
    error_log stderr notice;
    events { worker_connections 128; }
    http {
      access_log off;
      client_body_temp_path /var/cache/nginx/client_body; proxy_temp_path /var/cache/nginx/proxy;
      fastcgi_temp_path /var/cache/nginx/fastcgi; uwsgi_temp_path /var/cache/nginx/uwsgi; scgi_temp_path /var/cache/nginx/scgi;
      include /etc/nginx/upstreams/*.conf;
      ${extra}
      server {
        listen 127.0.0.1:${port};
        location = / { return 200 "${answer}"; }
        location = /slow { root /etc/nginx/upstreams; limit_rate 40k; }
      }
      server {
        listen 127.0.0.1:${tlsPort} ssl;
        ssl_certificate /etc/nginx/tls/tls.crt; ssl_certificate_key /etc/nginx/tls/tls.key;
      }
    }`;

  /** Replaces a folder's content as kubelet does for a ConfigMap or Secret: a new folder, then one rename. */
  async function publish(name: string, content: Record<string, string>): Promise<void> {
    const target = join(folder, name);
    const version = `..${Date.now()}.${Math.random().toString(36).slice(2)}`;
    await mkdir(join(target, version));
    for (const [file, text] of Object.entries(content)) {
      await writeFile(join(target, version, file), text, { mode: 0o644 });
      await symlink(join("..data", file), join(target, file)).catch(() => undefined);
    }
    await symlink(version, join(target, "..data_tmp"));
    await rename(join(target, "..data_tmp"), join(target, "..data"));
  }

  async function certificate(name: string): Promise<Record<string, string>> {
    const work = await mkdtemp(join(tmpdir(), "iam-ha-certificate-"));
    const [key, crt] = [join(work, "key"), join(work, "crt")];
    await run(
      [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-subj",
        `/CN=${name}`,
        "-keyout",
        key,
        "-out",
        crt,
      ],
      { timeoutMs: 20_000 },
    );
    const files = { "tls.key": await readFile(key, "utf8"), "tls.crt": await readFile(crt, "utf8") };
    await rm(work, { recursive: true });
    return files;
  }

  function servedName(): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: tlsPort, rejectUnauthorized: false, timeout: 5_000 }, () => {
        const { CN } = socket.getPeerCertificate().subject;
        socket.destroy();
        resolve(String(CN));
      });
      socket.on("timeout", () => socket.destroy(new Error("timed out")));
      socket.on("error", reject);
    });
  }

  function start(env: Record<string, string> = {}): Running {
    return image.start([...image.config.Entrypoint, ...image.config.Cmd], {
      env: { EDGE_POLL_SECONDS: "5", ...env },
      writable: ["/tmp", "/run/nginx", "/var/cache/nginx"],
      binds: {
        "/etc/nginx/conf": join(folder, "conf"),
        "/etc/nginx/tls": join(folder, "tls"),
        "/etc/nginx/upstreams": join(folder, "upstreams"),
      },
    });
  }

  const answers = async (expected: string): Promise<boolean> => (await request(port).catch(() => "")) === expected;

  before(async function () {
    if (process.getuid?.() !== 0) this.skip();
    this.timeout(15 * 60_000);
    const [edgeImage] = await buildImages({ names: ["edge"] });
    assert.ok(edgeImage);
    image = await Rootfs.unpack(edgeImage.tar);
  });
  after(async () => image?.remove());

  beforeEach(async () => {
    [port, tlsPort] = [await freePort(), await freePort()];
    folder = await mkdtemp(join(tmpdir(), "iam-ha-edge-"));
    await chmod(folder, 0o755);
    for (const name of ["conf", "tls", "upstreams"]) await mkdir(join(folder, name), { mode: 0o755 });
    await writeFile(join(folder, "upstreams/slow"), Buffer.alloc(120_000, "x"));
    await publish("tls", await certificate("first"));
    await publish("conf", { "nginx.conf": conf("one") });
    edge = start();
    await until("the edge answers", 10_000, () => answers("one"));
  });
  afterEach(async () => {
    edge.kill();
    await edge.ended(5_000);
    await rm(folder, { recursive: true, force: true });
  });

  it("reloads a changed configuration without dropping a request, open ones included", async () => {
    edge.kill();
    await edge.ended(5_000);
    // So rarely that a change can only have been seen by inotify.
    edge = start({ EDGE_POLL_SECONDS: "600" });
    await until("the edge answers", 10_000, () => answers("one"));
    let done = false;
    const seen: Record<string, number> = {};
    const load = async (): Promise<void> => {
      while (!done) {
        const body = await request(port);
        seen[body] = (seen[body] ?? 0) + 1;
      }
    };
    const slow = request(port, "/slow");
    const clients = Promise.all([load(), load(), load(), load()]);
    for (const answer of ["two", "three", "four"]) {
      await publish("conf", { "nginx.conf": conf(answer) });
      await until(`"${answer}" is served`, 15_000, () => answers(answer));
      await sleep(200);
    }
    assert.equal((await slow).length, 120_000);
    done = true;
    await clients;
    assert.deepEqual(Object.keys(seen).sort(), ["four", "one", "three", "two"]);
  });

  it("keeps the old configuration when the new one is wrong, says why, and takes a good one again", async () => {
    await publish("conf", { "nginx.conf": conf("bad", "no_such_directive on;") });
    await until("the refusal is logged", 8_000, () => edge.output().includes("rejected"));
    assert.match(edge.output(), /unknown directive "no_such_directive"/);
    assert.equal(await request(port), "one");
    await publish("conf", { "nginx.conf": conf("good") });
    await until("the good one is served", 4_000, () => answers("good"));
  });

  it("reads new certificates", async () => {
    assert.equal(await servedName(), "first");
    await publish("tls", await certificate("second"));
    await until("the new certificate is served", 4_000, async () => (await servedName()) === "second");
  });

  it("reloads for each of several quick changes of the upstreams", async () => {
    for (let i = 1; i <= 5; i += 1) {
      await writeFile(join(folder, "upstreams/map.conf"), `map $host $who { default "v${i}"; }\n`);
      await sleep(60 * i);
    }
    await publish("conf", { "nginx.conf": conf("$who") });
    await until("the last one is served", 4_500, () => answers("v5"));
    await writeFile(join(folder, "upstreams/map.conf"), 'map $host $who { default "v6"; }\n');
    await until("a later one too", 4_500, () => answers("v6"));
  });

  it("goes on by polling when inotify is gone", async () => {
    const root = image.folder;
    for (const pid of await readdir("/proc")) {
      const [command, where] = await Promise.all([
        readFile(`/proc/${pid}/comm`, "utf8").catch(() => ""),
        readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => ""),
      ]);
      if (command.trim() === "inotifywait" && where.includes(root)) process.kill(Number(pid), "SIGKILL");
    }
    await publish("conf", { "nginx.conf": conf("polled") });
    await until("the poll finds it", 15_000, () => answers("polled"));
  });

  it("ends with NGINX, so that the container is started again", async () => {
    const pid = await nginxMaster(image.folder);
    process.kill(pid, "SIGKILL");
    assert.notEqual(await edge.ended(5_000), 0);
  });

  it("TERM: open requests are finished, then it ends with 0", async () => {
    const slow = request(port, "/slow");
    await sleep(300);
    edge.signal("SIGTERM");
    assert.equal((await slow).length, 120_000);
    assert.equal(await edge.ended(5_000), 0);
  });

  it("TERM: it waits no longer than it was told to", async () => {
    edge.kill();
    await edge.ended(5_000);
    edge = start({ EDGE_DRAIN_SECONDS: "1" });
    await until("the edge answers", 10_000, () => answers("one"));
    const cut = assert.rejects(request(port, "/slow"));
    await sleep(300);
    const begin = performance.now();
    edge.signal("SIGTERM");
    await edge.ended(8_000);
    await cut;
    assert.ok(performance.now() - begin < 2_500);
  });

  it("a wrong configuration at the start ends it, with the reason", async () => {
    edge.kill();
    await edge.ended(5_000);
    await publish("conf", { "nginx.conf": "nonsense;" });
    edge = start();
    assert.notEqual(await edge.ended(5_000), 0);
    assert.match(edge.output(), /unknown directive "nonsense"/);
  });

  it("a missing configuration and a wrong setting are said in one line", async () => {
    const options = { writable: ["/tmp", "/run/nginx"] };
    const missing = image.start(["edge-entrypoint", "/etc/nginx/conf/other.conf"], options);
    assert.equal(await missing.ended(5_000), 64);
    assert.match(missing.output(), /no readable NGINX configuration at \/etc\/nginx\/conf\/other\.conf/);
    const wrong = image.start(["edge-entrypoint"], { ...options, env: { EDGE_DRAIN_SECONDS: "5s" } });
    assert.equal(await wrong.ended(5_000), 64);
    assert.match(wrong.output(), /found "5s"|whole seconds/);
  });
});

/** Pid, as the host sees it, of the NGINX master that runs in a root folder. */
async function nginxMaster(root: string): Promise<number> {
  for (const pid of await readdir("/proc")) {
    const [command, where] = await Promise.all([
      readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""),
      readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => ""),
    ]);
    if (command.startsWith("nginx: master") && where.includes(root)) return Number(pid);
  }
  throw new Error("no NGINX master runs there");
}
