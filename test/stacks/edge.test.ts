import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import { Edge, type EdgeArgs } from "../../components/edge/edge.ts";
import { edgeSettings } from "../../components/edge/settings.ts";
import { collect, type Collected, type RegisteredResource } from "../../scripts/render/collect.ts";
import { dirname } from "node:path";
import { wanSettings } from "../../components/common/wan.ts";
import { edgeSidecarConfig } from "../../sidecar/core/edge-sidecar-config.ts";
import { regionContext } from "../support/context.ts";

const CONTEXT = regionContext();
const UPSTREAM = { servers: ["iam-api-1", "iam-api-2", "iam-api-3"], port: 3000, tls: true };

function edge(settings: unknown = {}, more: Partial<EdgeArgs> = {}, preview = false): Promise<Collected> {
  const program = async () => {
    const provider = new k8s.Provider("beijing", { context: "x" });
    const made = new Edge(
      "beijing-edge",
      {
        context: CONTEXT,
        settings: edgeSettings.parse(settings),
        tlsSecret: "edge-tls",
        clientTlsSecret: "edge-client-tls",
        upstream: UPSTREAM,
        ...more,
      },
      { providers: [provider] },
    );
    return { url: made.url, serviceName: made.serviceName };
  };
  return collect(program, { stack: "beijing", preview });
}

const KINDS = {
  account: "kubernetes:core/v1:ServiceAccount",
  config: "kubernetes:core/v1:ConfigMap",
  deployment: "kubernetes:apps/v1:Deployment",
  service: "kubernetes:core/v1:Service",
  budget: "kubernetes:policy/v1:PodDisruptionBudget",
  policy: "kubernetes:networking.k8s.io/v1:NetworkPolicy",
} as const;

function only(collected: Collected, kind: keyof typeof KINDS, named = "edge"): RegisteredResource {
  const found = collected.resources.filter(
    ({ type, inputs }) => type === KINDS[kind] && (inputs["metadata"] as { name: string }).name === named,
  );
  assert.equal(found.length, 1, kind);
  return found[0]!;
}

interface Specs {
  deployment: k8s.types.output.apps.v1.DeploymentSpec;
  service: k8s.types.output.core.v1.ServiceSpec;
  budget: k8s.types.output.policy.v1.PodDisruptionBudgetSpec;
  policy: k8s.types.output.networking.v1.NetworkPolicySpec;
}

function specOf<K extends keyof Specs>(collected: Collected, kind: K): Specs[K] {
  return only(collected, kind).inputs["spec"] as Specs[K];
}

/** The pod, and its two containers that are not only for the start. */
function podOf(collected: Collected) {
  const pod = specOf(collected, "deployment").template.spec;
  const [nginx, sidecar, ...more] = pod.containers;
  assert.ok(nginx && sidecar);
  assert.deepEqual(more, []);
  return { pod, nginx, sidecar };
}

function environment(nginx: k8s.types.output.core.v1.Container, name: string): string {
  const variable = nginx.env.find((one) => one.name === name);
  assert.ok(variable, `${name} is set`);
  return variable.value;
}

for (const preview of [true, false]) {
  describe(`the Edge component (${preview ? "preview" : "update"})`, () => {
    it("makes its objects as its children, through the region's provider", async () => {
      const all = await edge({}, {}, preview);
      const own = all.resources.filter(({ type }) => type.startsWith("kubernetes:"));
      assert.deepEqual(new Set(own.map(({ type }) => type)), new Set(Object.values(KINDS)));
      for (const resource of own) {
        assert.match(resource.parent, /iam-ha:edge:Edge::beijing-edge$/);
        assert.match(resource.provider, /pulumi:providers:kubernetes::beijing::/);
        const { name, namespace, labels } = resource.inputs["metadata"] as {
          name: string;
          namespace: string;
          labels: Record<string, string>;
        };
        assert.deepEqual([name, namespace], [resource.name.endsWith("-sidecar") ? "edge-sidecar" : "edge", "iam"]);
        assert.equal(labels["app.kubernetes.io/name"], "edge");
        assert.equal(labels["app.kubernetes.io/part-of"], "iam-ha");
        // Nothing here is data that could not be made again.
        assert.equal(resource.protect, false);
        assert.deepEqual(resource.secretPaths, []);
      }
    });

    it("says where it is, also before it is made", async () => {
      const { outputs } = await edge({}, {}, preview);
      assert.deepEqual(outputs, { url: "https://api-beijing.iam.example.com", serviceName: "edge" });
    });
  });
}

describe("the Edge component", () => {
  it("runs pods that are restricted and cannot write but where they must", async () => {
    const { pod, nginx, sidecar } = podOf(await edge());
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(pod.serviceAccountName, "edge");
    assert.equal(pod.securityContext.runAsNonRoot, true);
    assert.deepEqual(pod.securityContext.seccompProfile, { type: "RuntimeDefault" });
    for (const container of [...pod.initContainers, ...pod.containers]) {
      const image = container === sidecar ? "node" : "edge";
      assert.equal(container.image, `registry.example.com/iam-ha/${image}:0.1.0`);
      assert.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      assert.ok(container.resources.requests.cpu && container.resources.limits.memory);
    }
    const writable = ({ volumeMounts }: typeof nginx) =>
      volumeMounts.filter((mount) => mount.readOnly !== true).map((mount) => mount.mountPath);
    assert.deepEqual(writable(nginx), ["/run/nginx", "/tmp", "/var/cache/nginx"]);
    assert.deepEqual(writable(sidecar), ["/etc/nginx/upstreams"]);
    assert.ok(
      [...nginx.volumeMounts, ...sidecar.volumeMounts].every((mount) => mount.subPath === undefined),
      "sub-paths do not follow a change",
    );
    const tls = pod.volumes.filter((volume) => volume.secret).map((volume) => volume.secret);
    assert.deepEqual(tls, [
      { secretName: "edge-tls", defaultMode: 0o440 },
      { secretName: "edge-client-tls", defaultMode: 0o440 },
    ]);
    assert.deepEqual(
      nginx.ports.map(({ name, containerPort }) => [name, containerPort]),
      [
        ["http", 8080],
        ["https", 8443],
        ["peer", 8444],
        ["health", 8082],
      ],
    );
  });

  it("takes a pod away only after another serves, and lets it finish", async () => {
    const all = await edge({ preStopSeconds: 7, drainSeconds: 40 });
    assert.deepEqual(specOf(all, "deployment").strategy, {
      type: "RollingUpdate",
      rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
    });
    const { pod, nginx } = podOf(all);
    assert.deepEqual(nginx.lifecycle, { preStop: { exec: { command: ["/bin/sleep", "7"] } } });
    const drain = Number(environment(nginx, "EDGE_DRAIN_SECONDS"));
    assert.equal(drain, 40);
    assert.ok(pod.terminationGracePeriodSeconds >= 7 + drain + 5);
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"] as const)
      assert.deepEqual(nginx[probe].httpGet, { path: "/health", port: "health" });
  });

  it("does not roll out for a change of configuration, which the pods reload", async () => {
    const [before, after] = [await edge(), await edge({ maxBodyMegabytes: 20 })];
    assert.notDeepEqual(only(before, "config").inputs["data"], only(after, "config").inputs["data"]);
    assert.deepEqual(specOf(before, "deployment"), specOf(after, "deployment"));
    const { pod, nginx } = podOf(before);
    const mounted = pod.volumes.find((volume) => volume.configMap);
    assert.equal(mounted?.configMap.name, (only(before, "config").inputs["metadata"] as { name: string }).name);
    // A change of these folders must be seen by the entry point.
    const watched = environment(nginx, "EDGE_WATCH").split(" ");
    assert.deepEqual(
      watched,
      nginx.volumeMounts.filter((mount) => mount.readOnly).map((mount) => mount.mountPath),
    );
  });

  it("waits for the names of the API's pods before NGINX starts", async () => {
    const [init] = podOf(await edge()).pod.initContainers;
    assert.deepEqual(init!.command.slice(-3), UPSTREAM.servers);
    const config = only(await edge(), "config").inputs["data"] as Record<string, string>;
    for (const server of UPSTREAM.servers)
      assert.match(config["upstream.conf"]!, new RegExp(`server ${server}:3000 max_fails=3 fail_timeout=30s;`));
  });

  it("shows its Service as it is told to", async () => {
    const balancer = only(
      await edge({ service: { annotations: { "example.com/kind": "nlb" }, loadBalancerSourceRanges: ["10.0.0.0/8"] } }),
      "service",
    );
    assert.equal(
      (balancer.inputs["metadata"] as { annotations: Record<string, string> }).annotations["example.com/kind"],
      "nlb",
    );
    assert.deepEqual(
      { ...(balancer.inputs["spec"] as Specs["service"]), selector: undefined },
      {
        type: "LoadBalancer",
        selector: undefined,
        ports: [
          { name: "http", port: 80, targetPort: "http" },
          { name: "https", port: 443, targetPort: "https" },
          { name: "edge-peer", port: 8444, targetPort: "peer" },
        ],
        externalTrafficPolicy: "Local",
        loadBalancerSourceRanges: ["10.0.0.0/8"],
      },
    );
    const cluster = specOf(await edge({ service: { type: "ClusterIP" } }), "service");
    assert.equal(cluster.type, "ClusterIP");
    assert.equal(cluster.externalTrafficPolicy, undefined, "the API server refuses it there");
    const nodes = specOf(
      await edge({ service: { type: "NodePort", httpsNodePort: 30443, peerNodePort: 30444 } }),
      "service",
    );
    assert.deepEqual(
      nodes.ports.map(({ nodePort }) => nodePort),
      [undefined, 30443, 30444],
    );
    assert.deepEqual(nodes.selector, specOf(await edge(), "deployment").selector.matchLabels);
  });

  it("may be disturbed one pod at a time, and talks to the API, the region controller and DNS alone", async () => {
    const all = await edge();
    assert.equal(specOf(all, "budget").maxUnavailable, 1);
    const policy = specOf(all, "policy");
    assert.deepEqual(policy.policyTypes, ["Ingress", "Egress"]);
    // Without networks of other regions nobody gets to the port of their edges: no rule is not a rule for all.
    assert.equal(policy.ingress.length, 1);
    assert.deepEqual(
      policy.ingress[0]!.ports.map(({ port }) => port),
      [8080, 8443, 8082],
    );
    const [toApi, toController, toDns] = policy.egress;
    const selects = (name: string) => ({ "app.kubernetes.io/name": name, "app.kubernetes.io/instance": "beijing" });
    assert.deepEqual(toApi!.to[0]!.podSelector.matchLabels, selects("iam-api"));
    assert.deepEqual(toApi!.ports, [{ protocol: "TCP", port: 3000 }]);
    assert.deepEqual(toController!.to[0]!.podSelector.matchLabels, selects("region-controller"));
    assert.deepEqual(toController!.ports, [{ protocol: "TCP", port: 8443 }]);
    assert.deepEqual(
      toDns!.ports.map(({ port }) => port),
      [53, 53],
    );
  });

  it("takes from other regions' networks, and sends there, what edges pass on", async () => {
    const wan = wanSettings.parse({ peerNetworks: ["10.12.0.0/16", "10.13.0.0/16"] });
    const context = regionContext({ wan });
    const blocks = wan.peerNetworks.map((cidr) => ({ ipBlock: { cidr } }));
    const policy = specOf(await edge({}, { context }), "policy");
    assert.deepEqual(policy.ingress[1], { from: blocks, ports: [{ protocol: "TCP", port: 8444 }] });
    assert.deepEqual(
      policy.egress.filter(({ to }) => to?.some(({ ipBlock }) => ipBlock)),
      [{ to: blocks, ports: [{ protocol: "TCP", port: 8444 }] }],
    );
    const behind = { clientAddress: { mode: "proxy-protocol", trusted: ["10.200.0.0/24"] } };
    const balanced = specOf(await edge(behind, { context }), "policy");
    assert.deepEqual(balanced.ingress[1]!.from, [...blocks, { ipBlock: { cidr: "10.200.0.0/24" } }]);
  });

  it("gives the sidecar a configuration that it takes, and starts it anew for another one", async () => {
    const all = await edge();
    const config = only(all, "config", "edge-sidecar").inputs["data"] as Record<string, string>;
    const { controller, pollMillis, callTimeoutMillis, routeFile, region, tls } = edgeSidecarConfig.parse(
      JSON.parse(config["sidecar.json"]!),
    );
    assert.deepEqual(
      { controller, pollMillis, callTimeoutMillis, region },
      { controller: "https://region-controller:8443", pollMillis: 1000, callTimeoutMillis: 1000, region: "beijing" },
    );
    const { sidecar, pod } = podOf(all);
    const mounts = new Map(sidecar.volumeMounts.map(({ mountPath, name }) => [mountPath, name]));
    for (const file of [routeFile, ...Object.values(tls), sidecar.args.at(-1)!])
      assert.ok(mounts.has(dirname(file)), `${file} is in a volume`);
    assert.equal(pod.volumes.find(({ name }) => name === mounts.get(dirname(routeFile)))!.emptyDir.medium, "Memory");
    const annotations = (collected: Collected) => specOf(collected, "deployment").template.metadata.annotations;
    assert.notDeepEqual(annotations(all), annotations(await edge({ regions: { pollMillis: 500 } })));
  });

  it("refuses an upstream that cannot work, with the path of the argument", async () => {
    const problem = (upstream: EdgeArgs["upstream"]) =>
      edge({}, { upstream }).then(
        () => assert.fail("was taken"),
        (error: { errors: { propertyPath: string; reason: string }[] }) =>
          error.errors.map(({ propertyPath }) => propertyPath),
      );
    assert.deepEqual(await problem({ ...UPSTREAM, servers: [] }), ["upstream.servers"]);
    assert.deepEqual(await problem({ ...UPSTREAM, servers: ["iam-api-1", "a;b"] }), ["upstream.servers[1]"]);
    assert.deepEqual(await problem({ ...UPSTREAM, servers: ["iam-api-1", "iam-api-1"] }), ["upstream.servers"]);
    assert.deepEqual(await problem({ ...UPSTREAM, servers: ["x y"], port: 0 }), [
      "upstream.servers[0]",
      "upstream.port",
    ]);
  });
});
