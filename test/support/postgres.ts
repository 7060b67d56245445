import type { ChildProcess } from "node:child_process";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { IMAGE_UID, runInImage, spawnInImage } from "./image-root.ts";
import { issueCertificate } from "./certificates.ts";

const BIN = "/usr/lib/postgresql/17/bin";
const SUPERUSER = "postgres";

export interface TestPostgresOptions {
  /** Unpacked postgres image. */
  readonly root: string;
  /** Address and port that the server listens on. */
  readonly address: string;
  readonly port: number;
  /** Folder with ca.crt and ca.key that signs the server's certificate. */
  readonly authority: string;
  /** Names of that certificate. */
  readonly dnsNames: readonly string[];
  /** Makes this a streaming replica of another server. */
  readonly primary?: TestPostgres;
}

/** A real PostgreSQL server from the project's image, TLS and SCRAM only over TCP. */
export class TestPostgres {
  readonly options: TestPostgresOptions;
  readonly folder: string;
  #process: ChildProcess | undefined;

  private constructor(options: TestPostgresOptions, folder: string) {
    this.options = options;
    this.folder = folder;
  }

  static async start(options: TestPostgresOptions): Promise<TestPostgres> {
    const folder = await mkdtemp(join(tmpdir(), "test-postgres-"));
    const server = new TestPostgres(options, folder);
    for (const part of ["data", "run", "tls"]) await mkdir(join(folder, part), { mode: 0o700 });
    await issueCertificate(options.authority, join(folder, "tls"), options.dnsNames);
    for (const part of ["", "data", "run", "tls", "tls/tls.crt", "tls/tls.key", "tls/ca.crt"]) {
      await chown(join(folder, part), IMAGE_UID, IMAGE_UID);
    }
    await server.#initialise();
    await server.resume();
    return server;
  }

  get mounts(): Record<string, string> {
    return {
      "/mnt/data": join(this.folder, "data"),
      "/mnt/run": join(this.folder, "run"),
      "/mnt/tls": join(this.folder, "tls"),
    };
  }

  async #initialise(): Promise<void> {
    const { root, address, port, primary } = this.options;
    if (primary) {
      const mounts = { ...this.mounts, "/mnt/primary": join(primary.folder, "run") };
      const from = ["-h", "/mnt/primary", "-p", String(primary.options.port), "-U", SUPERUSER];
      await runInImage(root, [`${BIN}/pg_basebackup`, "-D", "/mnt/data", "-R", "-c", "fast", ...from], { mounts });
    } else {
      await runInImage(root, [`${BIN}/initdb`, "-D", "/mnt/data", "-U", SUPERUSER, "--no-sync"], {
        mounts: this.mounts,
      });
    }
    const data = join(this.folder, "data");
    await writeFile(
      join(data, "postgresql.conf"),
      [
        `listen_addresses='${address}'`,
        `port=${port}`,
        "unix_socket_directories='/mnt/run'",
        "ssl=on",
        "ssl_cert_file='/mnt/tls/tls.crt'",
        "ssl_key_file='/mnt/tls/tls.key'",
        "fsync=off",
        "shared_buffers='16MB'",
        "dynamic_shared_memory_type=mmap",
        "max_connections=60",
        "wal_receiver_status_interval=1",
        "wal_retrieve_retry_interval=500ms",
        "",
      ].join("\n"),
    );
    await writeFile(
      join(data, "pg_hba.conf"),
      "local all all trust\nlocal replication all trust\nhostssl all all all scram-sha-256\n",
    );
    await chown(join(data, "postgresql.conf"), IMAGE_UID, IMAGE_UID);
  }

  /** Starts the server (again) and waits until it answers. */
  async resume(): Promise<void> {
    const { root, primary } = this.options;
    const mounts = primary ? { ...this.mounts, "/mnt/primary": join(primary.folder, "run") } : this.mounts;
    const server = spawnInImage(root, [`${BIN}/postgres`, "-D", "/mnt/data"], { mounts });
    this.#process = server;
    let log = "";
    server.stderr?.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4000)));
    for (let i = 0; i < 150; i++) {
      if (server.exitCode !== null) throw new Error(`PostgreSQL ended with ${server.exitCode}:\n${log}`);
      if ((await this.psql("select 1").catch(() => "")) === "1") return;
      await sleep(200);
    }
    throw new Error(`PostgreSQL does not answer within 30 s:\n${log}`);
  }

  /** Runs SQL as the superuser, over the local socket; gives the result without alignment. */
  async psql(sql: string, database = "postgres"): Promise<string> {
    const at = ["-h", "/mnt/run", "-p", String(this.options.port), "-U", SUPERUSER, "-d", database];
    const argv = [`${BIN}/psql`, "-XAtq", "-v", "ON_ERROR_STOP=1", ...at, "-c", sql];
    return (await runInImage(this.options.root, argv, { mounts: this.mounts })).trim();
  }

  /** Sends a signal to the server: SIGSTOP freezes only its first process. */
  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  /** Ends the server at once, without a checkpoint; its data stays. */
  async kill(): Promise<void> {
    const server = this.#process;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGQUIT");
    await Promise.race([ended, sleep(10_000).then(() => server.kill("SIGKILL"))]);
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}
