import { join } from "node:path";
import { Cluster } from "ioredis";
import { pino, type Logger } from "pino";
import { DEFAULT_LINKS, type Link } from "../../sidecar/core/link.ts";
import { regionConfig, type RegionConfig } from "../../sidecar/core/region-config.ts";
import { createSessionSync, type SessionSync } from "../../sidecar/region/sessions/index.ts";
import { PASSWORDS, RedisServers } from "./redis-servers.ts";

/** A region as the copying of sessions sees it: a real Redis Cluster, an application that uses it, and controllers. */
export class SessionSite {
  readonly region: string;
  readonly servers: RedisServers;
  readonly links: Link[];
  app!: Cluster;
  /** Region that it copies from. */
  source: string | undefined;
  epoch: number | undefined = 1;
  readonly log: Record<string, unknown>[] = [];

  constructor(region: string, links: Link[], settings: object = {}) {
    this.region = region;
    this.links = links;
    this.servers = new RedisServers(settings);
  }

  async start(nodes: number, masters: number): Promise<void> {
    await this.servers.start(nodes);
    await this.servers.form(masters);
    const { servers } = this;
    this.app = new Cluster(
      servers.nodes.map((node) => ({ host: node.name, port: servers.port })),
      {
        dnsLookup: (name, callback) => callback(null, name),
        slotsRefreshInterval: 1000,
        slotsRefreshTimeout: 2000,
        clusterRetryStrategy: () => 200,
        lazyConnect: true,
        redisOptions: {
          username: "iam",
          password: PASSWORDS.iam,
          tls: { ...servers.tls, lookup: servers.lookup },
          socketTimeout: 2000,
          connectTimeout: 1000,
          maxRetriesPerRequest: 1,
        },
      },
    );
    this.app.on("error", () => {});
    await this.app.connect();
  }

  get config(): RegionConfig {
    const { folder, nodes, port, settings } = this.servers;
    const file = (name: string) => join(folder, name);
    const region = (priority: number) => ({
      priority,
      initiallyActive: priority === 1,
      controller: { host: "unused", port: 1 },
      postgres: { host: "unused", port: 1 },
      slot: "unused",
      witness: "https://unused",
      edge: { host: "unused", port: 1 },
    });
    return regionConfig.parse({
      region: this.region,
      role: "standby",
      regions: { beijing: region(1), shanghai: region(2), shenzhen: region(3) },
      links: this.links,
      tls: { caFile: file("tls/ca.crt"), certFile: file("tls/tls.crt"), keyFile: file("tls/tls.key") },
      listen: { controller: 0, status: 0 },
      witness: { user: "unused", passwordFile: "unused", leaseTtlSeconds: 10, callTimeoutMillis: 1000 },
      postgres: {
        host: "unused",
        port: 1,
        user: "unused",
        passwordFile: "unused",
        database: "unused",
        patroni: ["https://unused"],
        patroniUser: "unused",
        patroniPasswordFile: "unused",
        callTimeoutMillis: 1000,
      },
      redis: {
        host: nodes[0]!.name,
        port,
        user: "sync",
        passwordFile: file("secrets/sync"),
        // Tests share their machine.
        callTimeoutMillis: 3000,
        copy: settings.regions.copy,
        invalidate: settings.regions.invalidate,
      },
      dns: { name: "unused", ttlSeconds: 5 },
      monitor: {
        intervalMillis: 1000,
        maxLagSeconds: 30,
        maxErrors: 10,
        sourceLostSeconds: 10,
        consistencyMillis: 60_000,
      },
      secrets: {},
    });
  }

  /** A controller of the region: with `copies`, the one that writes to its Redis. */
  controller(network: Network, copies: boolean): Controller {
    const logger: Logger = pino(
      { level: "debug" },
      { write: (line: string) => void this.log.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const stop = new AbortController();
    const sync = createSessionSync(this.config, {
      log: logger,
      activeSource: () => (copies ? this.source : undefined),
      epoch: () => this.epoch,
      request: (region, path, signal) => network.request(region, path, signal),
      lookup: this.servers.lookup,
    });
    const ended = sync.run(stop.signal);
    return {
      sync,
      stop: async () => {
        stop.abort();
        await ended;
      },
    };
  }

  async stop(): Promise<void> {
    this.app?.disconnect();
    await this.servers.stop();
  }
}

export interface Controller {
  readonly sync: SessionSync;
  stop(): Promise<void>;
}

/** What lies between the regions: it can be cut, and shows what has passed. */
export class Network {
  /** Controllers of each region; questions go to them in turn. */
  readonly controllers: Record<string, Controller[]> = {};
  cut = false;
  /** Every path and answer, as JSON. */
  readonly passed: { path: string; text: string }[] = [];
  /** Called with each answer before it arrives. */
  onAnswer: (path: string) => void | Promise<void> = () => {};
  #turn = 0;

  async request(region: string, path: string, signal: AbortSignal): Promise<unknown> {
    if (this.cut) throw new Error("connection refused");
    const all = this.controllers[region] ?? [];
    const controller = all[this.#turn++ % all.length];
    if (!controller) throw new Error("nobody answers");
    const url = new URL(path, "https://region");
    const answer = await controller.sync.handle(url.pathname, url.searchParams, signal);
    if (this.cut) throw new Error("connection lost");
    const text = JSON.stringify(answer);
    this.passed.push({ path, text });
    await this.onAnswer(path);
    return JSON.parse(text) as unknown;
  }

  /** How many questions of a kind have been answered. */
  count(path: string): number {
    return this.passed.filter((each) => each.path.startsWith(path)).length;
  }
}

/** A link of the design, faster. */
export const FAST_LINK: Link = {
  ...DEFAULT_LINKS[0]!,
  intervalMillis: 200,
  batchSize: 100,
  maxAttempts: 2,
  retryDelayMillis: 200,
};
