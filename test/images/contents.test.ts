/** What each image holds, as its archive in the cache has it. */
import assert from "node:assert/strict";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { buildImages, type BuiltImage } from "../../scripts/images/index.ts";
import { Rootfs, type InImageOptions } from "./rootfs.ts";

const READ_ONLY: InImageOptions = { writable: ["/tmp", "/run"] };

/** Programs of each image and what they say when asked for their version. */
const PROGRAMS: Record<string, [argv: string[], says: RegExp][]> = {
  edge: [
    [["nginx", "-v"], /nginx\/1\.26\./],
    [["sh", "-c", "inotifywait --help || test $? = 1"], /inotifywait 4\./],
  ],
  redis: [
    [["redis-server", "--version"], /v=8\.0\./],
    [["redis-cli", "--version"], /redis-cli 8\.0\./],
  ],
  witness: [
    [["etcd", "--version"], /etcd Version: 3\.5\./],
    [["etcdctl", "version"], /etcdctl version: 3\.5\./],
    [["python3", "--version"], /Python 3\./],
  ],
  pgbouncer: [
    [["pgbouncer", "--version"], /PgBouncer 1\.24\./],
    [["haproxy", "-v"], /HAProxy version 3\.0\./],
  ],
  node: [[["node", "--version"], /^v24\./]],
  postgres: [
    [["postgres", "--version"], /PostgreSQL\) 17\./],
    [["patroni", "--version"], /patroni 4\.0\.7/],
    [["patronictl", "version"], /patronictl version 4\.0\.7/],
    [["pgbackrest", "version"], /pgBackRest 2\.\d+/],
    [
      ["python3", "-c", "import kubernetes; print('kubernetes client', kubernetes.__version__)"],
      /kubernetes client \d+/,
    ],
  ],
};

/** Files of an image with what matters here. */
async function files(root: string): Promise<{ path: string; mode: number; uid: number }[]> {
  const found = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { mode, uid } = await lstat(path);
    if (entry.isFile()) found.push({ path: path.slice(root.length), mode: mode & 0o7777, uid });
  }
  return found;
}

describe("images", function () {
  let images: BuiltImage[];
  const roots = new Map<string, Rootfs>();
  const root = (name: string): Rootfs => {
    const found = roots.get(name);
    assert.ok(found, `image ${name} was not unpacked`);
    return found;
  };

  before(async function () {
    if (process.getuid?.() !== 0) this.skip();
    this.timeout(15 * 60_000);
    images = await buildImages();
    for (const { name, tar } of images) roots.set(name, await Rootfs.unpack(tar));
  });
  after(async () => {
    for (const rootfs of roots.values()) await rootfs.remove();
  });

  for (const [name, programs] of Object.entries(PROGRAMS)) {
    describe(name, () => {
      for (const [argv, says] of programs) {
        it(`runs ${argv.slice(0, 2).join(" ")} as 10001 with a read-only root and no capability`, async () => {
          assert.match(await root(name).run(argv, READ_ONLY), says);
        });
      }

      it("runs as user and group 10001 and starts through tini", () => {
        const { config } = root(name);
        assert.equal(config.User, "10001:10001");
        assert.deepEqual(config.Entrypoint, ["/usr/bin/tini", "--"]);
        assert.equal(config.StopSignal, "SIGTERM");
      });

      it("starts a command that is there", async () => {
        const { config } = root(name);
        const [program] = config.Cmd;
        assert.ok(program);
        assert.match(await root(name).run(["sh", "-c", `command -v ${program}`], READ_ONLY), /^\/usr\//);
      });

      it("has labels that say what it is", () => {
        const { Labels } = root(name).config;
        assert.equal(Labels["org.opencontainers.image.title"], `iam-ha/${name}`);
        assert.match(Labels["org.opencontainers.image.version"] ?? "", /^\d+(\.\d+)*$/);
        assert.ok(Labels["org.opencontainers.image.licenses"]);
      });

      it("has no set-user-id or set-group-id program, and no file that anybody may write", async () => {
        const bad = (await files(root(name).folder)).filter(
          ({ mode }) => (mode & 0o6000) !== 0 || (mode & 0o002) !== 0,
        );
        assert.deepEqual(bad, []);
      });

      it("has no private key and no package lists or logs", async () => {
        const suspicious = [];
        for (const { path } of await files(root(name).folder)) {
          if (/^\/(?:var\/log|var\/lib\/apt\/lists|var\/cache\/apt)\//.test(path)) suspicious.push(path);
          if (/\.(?:pem|key|crt)$|^\/etc\/ssl\/private\//.test(path)) {
            if ((await readFile(join(root(name).folder, path), "latin1")).includes("PRIVATE KEY-----"))
              suspicious.push(path);
          }
        }
        assert.deepEqual(suspicious, []);
      });

      it("names no package mirror of the machine it was built on", async () => {
        const sources = await readFile(join(root(name).folder, "etc/apt/sources.list"), "utf8").catch(() => "");
        assert.doesNotMatch(sources, /:\/\//);
        assert.deepEqual(await readdir(join(root(name).folder, "etc/apt/sources.list.d")), []);
        assert.equal(await readFile(join(root(name).folder, "etc/apt/apt.conf"), "utf8").catch(() => ""), "");
      });

      it("says which packages it holds", async () => {
        const packages = await readFile(join(root(name).folder, "usr/share/iam-ha/packages.txt"), "utf8");
        assert.match(packages, /^libc6(:amd64)?\t2\./m);
        assert.match(packages, /^tini\t/m);
      });
    });
  }

  it("nginx has what the edge's configuration needs", async () => {
    const says = await root("edge").run(["nginx", "-V"], READ_ONLY);
    for (const module of ["http_v2", "http_ssl", "http_realip", "http_stub_status"])
      assert.match(says, new RegExp(`--with-${module}_module`));
  });

  it("the witness says in one line what it lacks", async () => {
    const started = root("witness").start(["witness-entrypoint", "/etc/witness/witness.json"], READ_ONLY);
    assert.equal(await started.ended(10_000), 64);
    assert.match(started.output(), /cannot start.*No such file or directory: '\/etc\/witness\/witness\.json'/);
  });

  it("nginx accepts the configuration it starts with", async () => {
    const says = await root("edge").run(["nginx", "-t", "-c", "/etc/nginx/conf/nginx.conf"], {
      writable: ["/tmp", "/run/nginx", "/var/cache/nginx"],
    });
    assert.match(says, /test is successful/);
  });

  it("the postgres account is 10001, and initdb works for it", async () => {
    assert.match(await root("postgres").run(["id"], READ_ONLY), /uid=10001\(postgres\) gid=10001\(postgres\)/);
    const options = { writable: ["/tmp", "/run/postgresql", "/var/lib/postgresql"] };
    const says = await root("postgres")
      .run(
        [
          "initdb",
          "-D",
          "/var/lib/postgresql/data",
          "--no-sync",
          "--data-checksums",
          "--auth=scram-sha-256",
          "--pwfile=/dev/null",
        ],
        options,
      )
      .catch((error: Error) => error.message);
    // An empty password is refused: initdb has come as far as reading it.
    assert.match(says, /password file "\/dev\/null" is empty/);
    assert.match(
      await root("postgres").run(
        ["initdb", "-D", "/var/lib/postgresql/data", "--no-sync", "--data-checksums", "--auth=reject"],
        options,
      ),
      /Success\./,
    );
  });

  it("Python finds its compiled files fresh, so that Patroni need not be compiled at each start", async () => {
    // unchecked hash-based .pyc: flags 1 in bytes 4 to 7 (PEP 552).
    const pyc = (await files(root("postgres").folder)).filter(({ path }) => path.endsWith(".pyc"));
    assert.ok(pyc.some(({ path }) => path.includes("/patroni/")));
    for (const { path } of pyc)
      assert.equal((await readFile(join(root("postgres").folder, path))).readUInt32LE(4), 1, path);
  });

  it("the node image holds every program it was built with, and each parses", async () => {
    const programs = JSON.parse(await readFile(join(root("node").folder, "app/programs.json"), "utf8")) as {
      name: string;
    }[];
    assert.ok(programs.length > 0);
    for (const { name } of programs) await root("node").run(["node", "--check", `/app/${name}.mjs`], READ_ONLY);
  });

  it("certificates of public authorities are there, for object storage", async () => {
    const bundle = join(root("postgres").folder, "etc/ssl/certs/ca-certificates.crt");
    assert.match(await readFile(bundle, "utf8"), /BEGIN CERTIFICATE/);
    await assert.rejects(readlink(bundle));
  });
});
