import { endpointName, globalName, PORTS } from "../common/names.ts";
import type { CorednsSettings } from "./settings.ts";

/** Where the pod has things. */
export const DNS_PATHS = {
  config: "/etc/global-dns",
  /** What the sidecar writes. */
  source: "/run/global-dns",
  sidecar: "/etc/dns-sidecar",
  secrets: "/etc/dns-sidecar-secrets",
  tls: "/etc/dns-sidecar-tls",
} as const;

/** Ports of the pod besides DNS. */
export const DNS_PORTS = { health: 8080, ready: 8181, metrics: 9153, sidecar: 8083 } as const;

export interface CorefilePlan {
  readonly settings: Pick<CorednsSettings, "ttlSeconds" | "staleHours" | "verifyMillis">;
  /** Names of all regions. */
  readonly regions: readonly string[];
  readonly domain: string;
  /** Where the names of edges are resolved; default: the pod's own resolver. */
  readonly resolver?: string;
  readonly ports?: { readonly dns: number; readonly health: number; readonly ready: number; readonly metrics: number };
  /** Folder that the sidecar writes; default: the pod's. */
  readonly source?: string;
}

/** URL of each region's member of the witness, this region's first. */
export function witnessEndpoints(region: string, regions: readonly string[], domain: string): string[] {
  return [region, ...regions.filter((other) => other !== region)].map(
    (name) => `https://${endpointName("witness", name, domain)}:${PORTS.witnessClient}`,
  );
}

/** CoreDNS' configuration. It answers for the platform's one name, from the witness, and for the names of the regions'
 *  edges, to which that one leads; everything else it refuses.
 *
 *  The record is a CNAME (`api-<region>.<domain>`), and whoever asks from within a cluster is a stub resolver, which does
 *  not follow one by itself: the plugin asks this very server for the address, so the second block must be there. The
 *  plugin's own part, with the user's password, comes from the sidecar once the witness lets it in; without it the name
 *  is answered with SERVFAIL, at which resolvers turn to the other regions' servers. */
export function corefile(plan: CorefilePlan): string {
  const { ttlSeconds: ttl, staleHours, verifyMillis } = plan.settings;
  const ports = { dns: PORTS.dns, ...DNS_PORTS, ...plan.ports };
  const edges = plan.regions.map((region) => `${endpointName("api", region, plan.domain)}:${ports.dns}`);
  // Asked first and waited for a moment: an answer that is over is given only where the witness gives none.
  const stale = `serve_stale ${staleHours}h verify ${verifyMillis}ms ${ttl}s ${ttl}s`;
  return `# Made from the stack's configuration (iam-ha:globalDns); changes belong there.
${globalName(plan.domain)}:${ports.dns} {
    errors
    health :${ports.health} {
        lameduck 3s
    }
    ready :${ports.ready}
    prometheus :${ports.metrics}
    import ${plan.source ?? DNS_PATHS.source}/*.conf
    cache ${ttl} {
        success 1024 ${ttl} 1
        denial 1024 ${ttl} 1
        servfail 1s
        ${stale}
    }
    reload 2s 1s
}
${edges.join(" ")} {
    errors
    prometheus :${ports.metrics}
    forward . ${plan.resolver ?? "/etc/resolv.conf"} {
        max_concurrent 1000
    }
    cache ${ttl} {
        success 1024 ${ttl} 1
        denial 1024 ${ttl} 1
        servfail 1s
        ${stale}
    }
}
`;
}
