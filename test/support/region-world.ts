import { createServer, type Server } from "node:https";
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import type { AddressInfo, LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { DEFAULT_LINKS } from "../../sidecar/core/link.ts";
import { regionConfig, type RegionConfig } from "../../sidecar/core/region-config.ts";
import { RegionController, type ControllerOptions } from "../../sidecar/region/controller.ts";
import { TlsFiles } from "../../sidecar/region/tls.ts";
import { issueCertificate, makeAuthority } from "./certificates.ts";
import { freePorts } from "./sockets.ts";
import { WITNESS_PASSWORD, WITNESS_USER } from "./test-witness.ts";

export const REGIONS = ["beijing", "shanghai", "shenzhen"] as const;
export type Name = (typeof REGIONS)[number];

/** Names under `.test` lead to this machine; all others to where they lead. */
export const lookup: LookupFunction = (name, options, callback) => {
  if (!name.endsWith(".test") && name !== "localhost") callback(new Error(`no name ${name} in a test`), "");
  else if (options.all) callback(null, [{ address: "127.0.0.1", family: 4 }]);
  else callback(null, "127.0.0.1", 4);
};

/** Stands for the Patroni of one region: what a test says is what it answers. */
export class FakePatroni {
  role: "primary" | "standby_leader" | "replica" = "primary";
  up = true;
  leads = true;
  systemId = "7000000000000000001";
  timeline = 1;
  location = 0x3000060;
  streaming = true;
  standbyCluster: Record<string, unknown> | undefined;
  history: [number, number, string][] = [];
  /** The section was removed a moment ago: `/config` still shows it, `/cluster` no longer does. */
  promoting = false;
  readonly patches: { body: unknown; authorization: string | undefined }[] = [];
  #server: Server | undefined;
  url = "";

  async start(tls: string): Promise<void> {
    const read = (file: string) => readFile(join(tls, file));
    const [cert, key] = await Promise.all([read("tls.crt"), read("tls.key")]);
    const server = createServer({ cert, key }, (request, response) => {
      const send = (status: number, body: unknown) => response.writeHead(status).end(JSON.stringify(body));
      if (!this.up) return request.socket.destroy();
      if (request.url === "/leader") return send(this.leads ? 200 : 503, this.#status());
      if (request.url === "/history") return send(200, this.history);
      if (request.url === "/cluster") {
        const role = this.promoting || !this.standbyCluster ? "leader" : "standby_leader";
        return send(200, { members: [{ name: "a", role }] });
      }
      if (request.url !== "/config") return send(404, {});
      const config = () => (this.standbyCluster ? { ttl: 20, standby_cluster: this.standbyCluster } : { ttl: 20 });
      if (request.method !== "PATCH") return send(200, config());
      let text = "";
      request.on("data", (chunk: Buffer) => (text += chunk.toString()));
      request.on("end", () => {
        const body = JSON.parse(text) as { standby_cluster?: Record<string, unknown> };
        this.patches.push({ body, authorization: request.headers.authorization });
        this.standbyCluster = { ...this.standbyCluster, ...body.standby_cluster };
        send(200, config());
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#server = server;
    this.url = `https://localhost:${(server.address() as AddressInfo).port}`;
  }

  standbyOf(name: string, port: number, slot: string): void {
    this.role = "standby_leader";
    this.standbyCluster = { host: `postgresql-${name}.test`, port, primary_slot_name: slot };
  }

  #status() {
    return {
      state: "running",
      role: this.role,
      timeline: this.timeline,
      database_system_identifier: this.systemId,
      xlog: this.role === "primary" ? { location: this.location } : { replayed_location: this.location },
      ...(this.role !== "primary" && this.streaming ? { replication_state: "streaming" } : {}),
    };
  }

  stop(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }
}

/** A controller that runs in this process, with its log. */
export class TestController {
  readonly log: Record<string, unknown>[] = [];
  readonly controller: RegionController;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(config: RegionConfig, options: Pick<ControllerOptions, "sessions"> = {}) {
    const log = pino({}, { write: (line: string) => this.log.push(JSON.parse(line) as Record<string, unknown>) });
    this.controller = new RegionController({ config, log, lookup, ...options });
    this.#running = this.controller.run(this.#stop.signal);
    this.#running.catch(() => {});
  }

  events(event: string): Record<string, unknown>[] {
    return this.log.filter((line) => line["event"] === event);
  }

  /** Ends it. Activity is not given back, so to others this is a death. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

/** Three regions' names, certificates and configurations on this machine. */
export class RegionWorld {
  readonly folder: string;
  readonly patroni: Record<Name, FakePatroni>;
  #ports: number[] = [];

  private constructor(folder: string) {
    this.folder = folder;
    this.patroni = { beijing: new FakePatroni(), shanghai: new FakePatroni(), shenzhen: new FakePatroni() };
  }

  static async make(): Promise<RegionWorld> {
    const world = new RegionWorld(await mkdtemp(join(tmpdir(), "iam-ha-regions-")));
    world.#ports = await freePorts(3 * REGIONS.length);
    await mkdir(world.path("authority"));
    await makeAuthority(world.path("authority"));
    for (const name of REGIONS) await world.issue(name, [`region-${name}.test`, "region-controller", "localhost"]);
    await world.issue("witness", [...REGIONS.map((name) => `witness-${name}.test`), "localhost"]);
    await world.issue("edge-client", ["edge-client"]);
    await world.issue("postgres", ["localhost"]);
    await writeFile(world.path("witness-password"), WITNESS_PASSWORD);
    await writeFile(world.path("patroni-password"), "patroni-password-00001");
    await writeFile(world.path("monitor-password"), "monitor-password-00001\n");
    for (const name of REGIONS) {
      await writeFile(world.path(`shared-${name}`), "one-secret-for-all-0001");
      await world.patroni[name].start(world.path("postgres"));
    }
    return world;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  async issue(folder: string, names: readonly string[]): Promise<void> {
    await mkdir(this.path(folder), { recursive: true });
    await issueCertificate(this.path("authority"), this.path(folder), names);
  }

  tlsConfig(folder: string): RegionConfig["tls"] {
    const file = (name: string) => this.path(folder, name);
    return { caFile: file("ca.crt"), certFile: file("tls.crt"), keyFile: file("tls.key") };
  }

  tls(folder: string): TlsFiles {
    return new TlsFiles(this.tlsConfig(folder), lookup);
  }

  port(name: Name): number {
    return this.#ports[REGIONS.indexOf(name)]!;
  }

  statusPort(name: Name): number {
    return this.#ports[3 + REGIONS.indexOf(name)]!;
  }

  postgresPort(name: Name): number {
    return this.#ports[6 + REGIONS.indexOf(name)]!;
  }

  config(region: Name, witness: (name: string) => string, changes: Partial<RegionConfig> = {}): RegionConfig {
    return regionConfig.parse({
      region,
      role: region === "beijing" ? "active" : "standby",
      regions: Object.fromEntries(
        REGIONS.map((name, i) => [
          name,
          {
            priority: i + 1,
            initiallyActive: i === 0,
            controller: { host: `region-${name}.test`, port: this.port(name) },
            postgres: { host: `postgresql-${name}.test`, port: this.postgresPort(name) },
            slot: name,
            witness: witness(name),
            edge: { host: `api-${name}.test`, port: 443 },
          },
        ]),
      ),
      links: DEFAULT_LINKS,
      tls: this.tlsConfig(region),
      listen: { controller: this.port(region), status: this.statusPort(region) },
      witness: {
        user: WITNESS_USER,
        passwordFile: this.path("witness-password"),
        leaseTtlSeconds: 3,
        callTimeoutMillis: 1000,
      },
      postgres: {
        host: "localhost",
        port: this.postgresPort(region),
        user: "monitor",
        passwordFile: this.path("monitor-password"),
        database: "iam",
        patroni: [this.patroni[region].url],
        patroniUser: "patroni",
        patroniPasswordFile: this.path("patroni-password"),
        callTimeoutMillis: 1000,
      },
      redis: {
        host: "localhost",
        port: 1,
        user: "sync",
        passwordFile: this.path("monitor-password"),
        callTimeoutMillis: 1000,
        copy: ["session:"],
        invalidate: [],
      },
      dns: { name: "api.test", ttlSeconds: 5 },
      monitor: {
        intervalMillis: 300,
        maxLagSeconds: 30,
        maxErrors: 10,
        sourceLostSeconds: 2,
        consistencyMillis: 1000,
      },
      secrets: { replication: this.path(`shared-${region}`) },
      ...changes,
    } satisfies Record<keyof RegionConfig, unknown>);
  }

  stop(): void {
    for (const name of REGIONS) this.patroni[name].stop();
  }
}
