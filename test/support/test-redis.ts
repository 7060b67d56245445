import type { ChildProcess } from "node:child_process";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { issueCertificate } from "./certificates.ts";
import { IMAGE_UID, runInImage, spawnInImage } from "./image-root.ts";
import { freePorts } from "./sockets.ts";

/** A real Redis Cluster of one node from the project's image, TLS only, with one ACL user. Named `localhost`. */
export class TestRedis {
  readonly port: number;
  readonly #root: string;
  readonly #folder: string;
  readonly #password: string;
  #process: ChildProcess | undefined;

  private constructor(root: string, port: number, folder: string, password: string) {
    this.#root = root;
    this.port = port;
    this.#folder = folder;
    this.#password = password;
  }

  static async start(
    root: string,
    authority: string,
    port: number,
    user: string,
    password: string,
  ): Promise<TestRedis> {
    const folder = await mkdtemp(join(tmpdir(), "test-redis-"));
    const server = new TestRedis(root, port, folder, password);
    await mkdir(join(folder, "tls"));
    await issueCertificate(authority, join(folder, "tls"), ["localhost"]);
    const [bus] = await freePorts(1);
    const config = [
      "bind 127.0.0.1",
      "port 0",
      `tls-port ${port}`,
      "tls-cert-file /mnt/tls/tls.crt",
      "tls-key-file /mnt/tls/tls.key",
      "tls-ca-cert-file /mnt/tls/ca.crt",
      "tls-auth-clients optional",
      "tls-cluster yes",
      `cluster-port ${bus}`,
      "cluster-enabled yes",
      "cluster-announce-hostname localhost",
      "cluster-preferred-endpoint-type hostname",
      "dir /mnt",
      "save ''",
      `user default on >${password} ~* &* +@all`,
      `user ${user} on >${password} ~* &* +@all -@admin -@dangerous +info`,
      "",
    ];
    await writeFile(join(folder, "redis.conf"), config.join("\n"));
    for (const part of ["", "tls", "tls/tls.key"]) await chown(join(folder, part), IMAGE_UID, IMAGE_UID);
    await server.resume();
    await server.cli("cluster", "addslotsrange", "0", "16383");
    for (let i = 0; i < 100 && !(await server.cli("cluster", "info")).includes("cluster_state:ok"); i++)
      await sleep(100);
    return server;
  }

  /** Starts the server (again) and waits until it answers. */
  async resume(): Promise<void> {
    this.#process = spawnInImage(this.#root, ["redis-server", "/mnt/redis.conf"], { mounts: { "/mnt": this.#folder } });
    for (let i = 0; i < 100; i++) {
      if ((await this.cli("ping").catch(() => "")) === "PONG") return;
      await sleep(100);
    }
    throw new Error("Redis does not answer within 10 s");
  }

  async cli(...argv: string[]): Promise<string> {
    const at = [
      "-h",
      "localhost",
      "-p",
      String(this.port),
      "--tls",
      "--cacert",
      "/mnt/tls/ca.crt",
      "--no-auth-warning",
    ];
    const output = await runInImage(this.#root, ["redis-cli", ...at, ...argv], {
      mounts: { "/mnt": this.#folder, "/etc/hosts": "/etc/hosts" },
      env: { REDISCLI_AUTH: this.#password },
    });
    return output.trim();
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  async stop(): Promise<void> {
    const server = this.#process;
    if (server && server.exitCode === null && server.signalCode === null) {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGKILL");
      await ended;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}
