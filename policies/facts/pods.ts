import { isObject, type Resource } from "./stack.ts";

/** Kinds that make pods, and where their template is. */
const TEMPLATES: Readonly<Record<string, string>> = {
  Deployment: "spec.template",
  StatefulSet: "spec.template",
  DaemonSet: "spec.template",
  Job: "spec.template",
  CronJob: "spec.jobTemplate.spec.template",
};

/** What is read of a container. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
  readonly securityContext?: {
    allowPrivilegeEscalation?: boolean;
    readOnlyRootFilesystem?: boolean;
    privileged?: boolean;
    runAsNonRoot?: boolean;
    runAsUser?: number;
    capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
    seccompProfile?: { readonly type?: string };
  };
  readonly livenessProbe?: object;
  readonly readinessProbe?: object;
  readonly startupProbe?: object;
  /** `Always` for an init container that goes on beside the others. */
  readonly restartPolicy?: string;
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

/** What is read of a pod. */
export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  automountServiceAccountToken?: boolean;
  readonly serviceAccountName?: string;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type?: string };
  };
  readonly volumes?: readonly Readonly<Record<string, unknown>>[];
  readonly topologySpreadConstraints?: readonly {
    readonly topologyKey: string;
    readonly whenUnsatisfiable: string;
    readonly maxSkew: number;
    readonly labelSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  }[];
  readonly affinity?: object;
}

/** A pod as an object that makes pods describes it. */
export interface PodTemplate {
  readonly resource: Resource;
  /** Path of the pod's spec in the object: `spec.template.spec`. */
  readonly path: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
}

/** The pod that a resource makes; undefined for one that makes none. */
export function podOf(resource: Resource): PodTemplate | undefined {
  const kind = Object.keys(TEMPLATES).find((name) => isObject(resource, name));
  if (kind === undefined) return undefined;
  const path = TEMPLATES[kind]!;
  let template = resource.props as Record<string, unknown>;
  for (const key of path.split(".")) template = template[key] as Record<string, unknown>;
  const metadata = template["metadata"] as
    Partial<Record<"labels" | "annotations", Record<string, string>>> | undefined;
  return {
    resource,
    path: `${path}.spec`,
    labels: metadata?.labels ?? {},
    annotations: metadata?.annotations ?? {},
    spec: template["spec"] as PodSpec,
  };
}

/** Every container of a pod with its path in the object: those that start it first. */
export function containersOf({ path, spec }: PodTemplate): { path: string; container: Container; init: boolean }[] {
  const list = (key: "initContainers" | "containers", init: boolean) =>
    (spec[key] ?? []).map((container, i) => ({ path: `${path}.${key}[${i}]`, container, init }));
  return [...list("initContainers", true), ...list("containers", false)];
}
