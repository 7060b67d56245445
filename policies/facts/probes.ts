import type { Given } from "../arithmetic/bound.ts";
import type { Pods, Probe } from "../arithmetic/timings.ts";
import { containersOf, podOf } from "./pods.ts";
import { CannotJudge, componentOf, kindOf, titleOf, type Stack } from "./stack.ts";

/** What Kubernetes takes where an object does not say. */
const DEFAULTS = { periodSeconds: 10, failureThreshold: 3, timeoutSeconds: 1, grace: 30, toleration: 300 } as const;

/** The pods of a component, with the probes of its container.
 *  @throws CannotJudge when the stack has none */
export function podsOf(stack: Stack, component: string, containerName: string): Pods {
  const resource = stack.objects("Deployment", "StatefulSet").find((one) => componentOf(one) === component);
  const pod = resource && podOf(resource);
  if (!pod) throw new CannotJudge(`no Deployment or StatefulSet is of ${component}`);
  const found = containersOf(pod).find(({ container }) => container.name === containerName);
  if (!found) throw new CannotJudge(`${titleOf(pod.resource)}: ${pod.path} has no container ${containerName}`);
  const where = (path: string) => `${titleOf(pod.resource)} ${path}`;
  const spec = pod.spec as typeof pod.spec & {
    readonly terminationGracePeriodSeconds?: number;
    readonly tolerations?: readonly { readonly key?: string; readonly tolerationSeconds?: number }[];
  };
  const unreachable = spec.tolerations?.find(({ key }) => key === "node.kubernetes.io/unreachable");
  const { replicas = 1 } = pod.resource.props["spec"] as { replicas?: number };
  return {
    alone: replicas < 2,
    moves: kindOf(pod.resource) === "Deployment",
    readiness: probe(found.container.readinessProbe, where(`${found.path}.readinessProbe`)),
    liveness: probe(found.container.livenessProbe, where(`${found.path}.livenessProbe`)),
    grace: given(
      spec.terminationGracePeriodSeconds,
      DEFAULTS.grace,
      where(`${pod.path}.terminationGracePeriodSeconds`),
    ),
    toleration: unreachable
      ? given(unreachable.tolerationSeconds, Infinity, where(`${pod.path}.tolerations`))
      : { value: DEFAULTS.toleration, source: "Kubernetes' default toleration of node.kubernetes.io/unreachable" },
  };
}

function probe(found: object | undefined, where: string): Probe | undefined {
  if (!found) return undefined;
  const figures = found as Readonly<
    Record<"periodSeconds" | "failureThreshold" | "timeoutSeconds", number | undefined>
  >;
  const figure = (key: keyof typeof figures) => given(figures[key], DEFAULTS[key], `${where} ${key}`);
  return { period: figure("periodSeconds"), failures: figure("failureThreshold"), timeout: figure("timeoutSeconds") };
}

function given(value: number | undefined, fallback: number, source: string): Given {
  return value === undefined
    ? { value: fallback, source: `${source}, not set: Kubernetes' default` }
    : { value, source };
}
