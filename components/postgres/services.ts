import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { metadata, selectorOf, type RegionContext } from "../common/context.ts";
import { COMPONENTS, PORTS, SERVICES } from "../common/names.ts";
import { wanService } from "../common/wan.ts";
import { ROLE_LABEL, ROLE_VALUES, SCOPE } from "./patroni.ts";

const PORT = { name: "postgresql", port: PORTS.postgres };
const REST = { name: "patroni", port: PORTS.patroni };

/** Objects that Patroni keeps its state in, beside that of the leader: Endpoints of these names. The controller manager
 *  deletes Endpoints without a Service when it starts, and with them the cluster's configuration, or the record of who
 *  is synchronous; a Service without a selector and without an address keeps each of them. */
export const STATE_NAMES = ["config", "sync", "failover"].map((part) => `${SCOPE}-${part}`);

/** The Services of the cluster. Their names are constants: pods and clients need none of them to be there first. */
export function postgresServices(
  name: string,
  ctx: RegionContext,
  opts: pulumi.CustomResourceOptions,
): k8s.core.v1.Service[] {
  // Endpoints live and die with the Service of their name, and the cluster's state is in them.
  const kept = { ...opts, protect: ctx.protect, retainOnDelete: ctx.protect };
  const selector = selectorOf(ctx, COMPONENTS.postgres);
  const service = (
    part: string,
    fullName: string,
    spec: k8s.types.input.core.v1.ServiceSpec,
    options = opts,
    annotations: Record<string, string> = {},
  ) =>
    new k8s.core.v1.Service(
      `${name}-${part}`,
      { metadata: metadata(ctx, COMPONENTS.postgres, fullName, annotations), spec },
      options,
    );
  // The engine would wait until no pod behind the Service is unready, and a replica that lags or is being copied is
  // that for as long as it takes; the StatefulSet is waited for, which is enough.
  const skip = { "pulumi.com/skipAwait": "true" };
  const wan = wanService(ctx, ctx.wan, "postgresql");
  return [
    // No selector: Patroni writes the leader's address itself, in the moment in which it takes the lead. Other regions
    // stream from here. Not waited for: pods come after this Service, and a load balancer that has its address late, or
    // only once somebody answers behind it, must not hold them up.
    service("primary", SERVICES.postgresPrimary, { ...wan.spec, ports: [PORT] }, kept, { ...wan.annotations, ...skip }),
    ...STATE_NAMES.map((state) => service(state.slice(SCOPE.length + 1), state, { clusterIP: "None" }, kept)),
    service(
      "replicas",
      SERVICES.postgresReplicas,
      { type: "ClusterIP", selector: { ...selector, [ROLE_LABEL]: ROLE_VALUES.replica }, ports: [PORT] },
      opts,
      skip,
    ),
    service("any", SERVICES.postgresAny, { type: "ClusterIP", selector, ports: [PORT] }, opts, skip),
    // Names of the single pods. They are needed before a pod is ready: members call each other by them.
    service("nodes", SERVICES.postgresNodes, {
      clusterIP: "None",
      publishNotReadyAddresses: true,
      selector,
      ports: [PORT, REST],
    }),
  ];
}
