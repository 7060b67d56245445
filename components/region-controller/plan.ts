import type { Link } from "../../sidecar/core/link.ts";
import type { RegionConfig } from "../../sidecar/core/region-config.ts";
import type { RegionContext } from "../common/context.ts";
import { endpointName, globalName, PORTS } from "../common/names.ts";
import { slotOfRegion } from "../postgres/settings.ts";
import { CONTROLLER_USER } from "../witness/settings.ts";
import type { RegionControllerSettings } from "./settings.ts";

/** Port of /healthz, /metrics and /status.json. */
export const STATUS_PORT = 8080;

/** Where things are inside the controller's pod. */
export const PATHS = {
  config: "/etc/region-controller",
  /** Secret: the controller's own passwords, a file each. */
  passwords: "/etc/region-controller-passwords",
  /** Secret: what all regions share, a file each, for fingerprints. */
  shared: "/etc/region-controller-shared",
  tls: "/etc/region-controller-tls",
} as const;

/** The controller's passwords, by the name of their file. */
export const PASSWORD_FILES = ["monitor", "patroniRestApi", "witness", "redisSync"] as const;
export type PasswordFile = (typeof PASSWORD_FILES)[number];

/** Role of the database that may see its state, and read what is compared between regions. */
const MONITOR_USER = "monitor";
/** User of Patroni's REST API, whose password is the region's `patroniRestApi`. */
const PATRONI_USER = "patroni";

/** One region as the topology has it. */
export interface RegionOfTopology {
  readonly priority: number;
  readonly role: RegionConfig["role"];
}

export interface PlanArgs {
  readonly context: RegionContext;
  readonly settings: RegionControllerSettings;
  readonly regions: Readonly<Record<string, RegionOfTopology>>;
  readonly links: readonly Link[];
  readonly postgres: { readonly nodeHosts: readonly string[]; readonly primaryHost: string; readonly database: string };
  readonly redis: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly copy: readonly string[];
    readonly invalidate: readonly string[];
  };
  readonly sharedSecretNames: readonly string[];
  readonly globalDns: { readonly name?: string | undefined; readonly ttlSeconds: number };
  readonly edgePort: number;
}

/** The controller's configuration file. */
export function controllerConfig(args: PlanArgs): RegionConfig {
  const { context: ctx, settings, regions, postgres, redis } = args;
  const host = (endpoint: Parameters<typeof endpointName>[0], name: string) => endpointName(endpoint, name, ctx.domain);
  const password = (name: PasswordFile) => `${PATHS.passwords}/${name}`;
  return {
    region: ctx.region,
    role: regions[ctx.region]!.role,
    regions: Object.fromEntries(
      Object.entries(regions).map(([name, { priority, role }]) => [
        name,
        {
          priority,
          initiallyActive: role === "active",
          controller: { host: host("region", name), port: PORTS.regionController },
          postgres: { host: host("postgresql", name), port: PORTS.postgres },
          slot: slotOfRegion(name),
          witness: `https://${host("witness", name)}:${PORTS.witnessClient}`,
          edge: { host: host("api", name), port: args.edgePort },
        },
      ]),
    ),
    links: [...args.links],
    tls: { caFile: `${PATHS.tls}/ca.crt`, certFile: `${PATHS.tls}/tls.crt`, keyFile: `${PATHS.tls}/tls.key` },
    listen: { controller: PORTS.regionController, status: STATUS_PORT },
    witness: {
      user: CONTROLLER_USER,
      passwordFile: password("witness"),
      leaseTtlSeconds: settings.leaseTtlSeconds,
      callTimeoutMillis: settings.witnessTimeoutMillis,
    },
    postgres: {
      host: postgres.primaryHost,
      port: PORTS.postgres,
      user: MONITOR_USER,
      passwordFile: password("monitor"),
      database: postgres.database,
      patroni: postgres.nodeHosts.map((node) => `https://${node}:${PORTS.patroni}`),
      patroniUser: PATRONI_USER,
      patroniPasswordFile: password("patroniRestApi"),
      callTimeoutMillis: settings.databaseTimeoutMillis,
    },
    redis: {
      host: redis.host,
      port: redis.port,
      user: redis.user,
      passwordFile: password("redisSync"),
      callTimeoutMillis: settings.redisTimeoutMillis,
      copy: [...redis.copy],
      invalidate: [...redis.invalidate],
    },
    dns: { name: args.globalDns.name ?? globalName(ctx.domain), ttlSeconds: args.globalDns.ttlSeconds },
    monitor: {
      intervalMillis: settings.intervalMillis,
      maxLagSeconds: settings.maxLagSeconds,
      maxErrors: settings.maxErrors,
      sourceLostSeconds: settings.sourceLostSeconds,
      consistencyMillis: settings.consistencySeconds * 1000,
    },
    secrets: Object.fromEntries(args.sharedSecretNames.map((name) => [name, `${PATHS.shared}/${name}`])),
  };
}
