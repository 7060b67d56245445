import type { PodTemplate } from "./pods.ts";

/** What a pod's or container's security context may say, as far as a standard speaks of it. */
export interface SecurityContext {
  privileged?: boolean;
  allowPrivilegeEscalation?: boolean;
  readOnlyRootFilesystem?: boolean;
  runAsNonRoot?: boolean;
  runAsUser?: number;
  procMount?: string;
  capabilities?: { add?: string[]; drop?: string[] };
  seccompProfile?: { type?: string };
  appArmorProfile?: { type?: string };
  seLinuxOptions?: { type?: string; user?: string; role?: string };
  windowsOptions?: { hostProcess?: boolean };
  sysctls?: { name: string }[];
}

interface Handler {
  httpGet?: { host?: string };
  tcpSocket?: { host?: string };
}

/** What a standard reads of a container. */
export interface GuardedContainer {
  name: string;
  securityContext?: SecurityContext;
  ports?: { hostPort?: number }[];
  livenessProbe?: Handler;
  readinessProbe?: Handler;
  startupProbe?: Handler;
  lifecycle?: { preStop?: Handler; postStart?: Handler };
}

/** What a standard reads of a pod. */
export interface GuardedPod {
  securityContext?: SecurityContext;
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
  containers?: GuardedContainer[];
  initContainers?: GuardedContainer[];
  volumes?: Record<string, unknown>[];
}

/** One thing that breaks the standard. */
export interface Breach {
  /** Path in the object. */
  readonly path: string;
  readonly found: unknown;
  /** What is allowed, in words. */
  readonly allowed: string;
}

// The lists are those of the Pod Security Standards, https://kubernetes.io/docs/concepts/security/pod-security-standards/
const VOLUMES = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
];
const SYSCTLS = [
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ping_group_range",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.tcp_wmem",
];
const SELINUX_TYPES = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/";
const PROFILES = ["RuntimeDefault", "Localhost"];

/** Where a pod breaks the profile "restricted" of the Pod Security Standards. */
export function breachesOf(pod: PodTemplate): Breach[] {
  const spec = pod.spec as unknown as GuardedPod;
  const found: Breach[] = [];
  const hold = (path: string, value: unknown, fine: boolean, allowed: string) => {
    if (!fine) found.push({ path, found: value, allowed });
  };
  for (const key of ["hostNetwork", "hostPID", "hostIPC"] as const)
    hold(`${pod.path}.${key}`, spec[key], !spec[key], "false");
  (spec.volumes ?? []).forEach((volume, i) => {
    const type = Object.keys(volume).find((key) => key !== "name") ?? "emptyDir";
    hold(`${pod.path}.volumes[${i}]`, type, VOLUMES.includes(type), `one of ${VOLUMES.join(", ")}`);
  });
  for (const [key, value] of Object.entries(pod.annotations)) {
    if (!key.startsWith(APP_ARMOR)) continue;
    const path = `${pod.path.replace(/\.spec$/, "")}.metadata.annotations[${JSON.stringify(key)}]`;
    hold(path, value, /^(runtime\/default$|localhost\/)/.test(value), "runtime/default or localhost/…");
  }
  const context = spec.securityContext ?? {};
  found.push(...shared(context, `${pod.path}.securityContext`));
  (context.sysctls ?? []).forEach(({ name }, i) =>
    hold(`${pod.path}.securityContext.sysctls[${i}].name`, name, SYSCTLS.includes(name), "a sysctl known as safe"),
  );
  for (const key of ["initContainers", "containers"] as const) {
    (spec[key] ?? []).forEach((container, i) =>
      found.push(...inContainer(container, context, `${pod.path}.${key}[${i}]`)),
    );
  }
  return found;
}

/** What pods and containers say in the same words. */
function shared(context: SecurityContext, path: string): Breach[] {
  const found: Breach[] = [];
  const hold = (key: string, value: unknown, fine: boolean, allowed: string) => {
    if (!fine) found.push({ path: `${path}.${key}`, found: value, allowed });
  };
  hold("runAsUser", context.runAsUser, context.runAsUser !== 0, "any user but 0");
  const { type, user, role } = context.seLinuxOptions ?? {};
  hold("seLinuxOptions.type", type, SELINUX_TYPES.includes(type ?? ""), "none, or a type of containers");
  hold("seLinuxOptions.user", user, (user ?? "") === "", "none");
  hold("seLinuxOptions.role", role, (role ?? "") === "", "none");
  const armor = context.appArmorProfile?.type;
  hold("appArmorProfile.type", armor, armor === undefined || PROFILES.includes(armor), PROFILES.join(" or "));
  const host = context.windowsOptions?.hostProcess;
  hold("windowsOptions.hostProcess", host, !host, "false");
  return found;
}

function inContainer(container: GuardedContainer, ofPod: SecurityContext, path: string): Breach[] {
  const found: Breach[] = [];
  const hold = (key: string, value: unknown, fine: boolean, allowed: string) => {
    if (!fine) found.push({ path: `${path}.${key}`, found: value, allowed });
  };
  const own = container.securityContext ?? {};
  const of = (key: string) => `securityContext.${key}`;
  hold(of("privileged"), own.privileged, !own.privileged, "false");
  hold(of("allowPrivilegeEscalation"), own.allowPrivilegeEscalation, own.allowPrivilegeEscalation === false, "false");
  hold(of("procMount"), own.procMount, (own.procMount ?? "Default") === "Default", "Default");
  const { add = [], drop = [] } = own.capabilities ?? {};
  hold(of("capabilities.drop"), drop, drop.includes("ALL"), '["ALL"]');
  hold(
    of("capabilities.add"),
    add,
    add.every((name) => name === "NET_BIND_SERVICE"),
    "NET_BIND_SERVICE at most",
  );
  // What a container does not say, the pod says for it.
  const nonRoot = own.runAsNonRoot ?? ofPod.runAsNonRoot;
  hold(of("runAsNonRoot"), nonRoot, nonRoot === true, "true, here or in the pod");
  const seccomp = own.seccompProfile?.type ?? ofPod.seccompProfile?.type;
  const profiles = `${PROFILES.join(" or ")}, here or in the pod`;
  hold(of("seccompProfile.type"), seccomp, seccomp !== undefined && PROFILES.includes(seccomp), profiles);
  (container.ports ?? []).forEach(({ hostPort }, i) => hold(`ports[${i}].hostPort`, hostPort, !hostPort, "none"));
  const handlers = {
    livenessProbe: container.livenessProbe,
    readinessProbe: container.readinessProbe,
    startupProbe: container.startupProbe,
    "lifecycle.preStop": container.lifecycle?.preStop,
    "lifecycle.postStart": container.lifecycle?.postStart,
  };
  for (const [key, handler] of Object.entries(handlers)) {
    const host = handler?.httpGet?.host ?? handler?.tcpSocket?.host;
    hold(`${key}.host`, host, (host ?? "") === "", "none: the pod itself is asked");
  }
  return [...found, ...shared(own, `${path}.securityContext`)];
}
