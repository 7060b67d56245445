import type { Mutation } from "../mutation.ts";
import type { ChangedStack } from "../stack.ts";
import { databasePod, edgePod } from "./objects.ts";

/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return --
   a mutation goes wherever it likes */

/** Changes the security context of NGINX's container. */
const guarded = (change: (context: any) => void) => edgePod((spec) => change(spec.containers[0].securityContext));

export const podMutations: readonly Mutation[] = (
  [
    [
      "privilege escalation",
      /allowPrivilegeEscalation: found true; allowed is false/,
      guarded((c) => (c.allowPrivilegeEscalation = true)),
    ],
    [
      "privilege escalation not forbidden",
      /allowPrivilegeEscalation: found nothing; allowed is false/,
      guarded((c) => delete c.allowPrivilegeEscalation),
    ],
    [
      "a privileged container",
      /containers\[0\]\.securityContext\.privileged: found true; allowed is false/,
      guarded((c) => (c.privileged = true)),
    ],
    [
      "capabilities kept",
      /capabilities\.drop: found \["NET_RAW"\]; allowed is \["ALL"\]/,
      guarded((c) => (c.capabilities.drop = ["NET_RAW"])),
    ],
    [
      "a capability added",
      /capabilities\.add: found \["SYS_ADMIN"\]; allowed is NET_BIND_SERVICE/,
      guarded((c) => (c.capabilities.add = ["SYS_ADMIN"])),
    ],
    [
      "root file system that can be written to",
      /readOnlyRootFilesystem: found nothing; it must be true/,
      guarded((c) => delete c.readOnlyRootFilesystem),
    ],
    ["the host's /proc", /procMount: found "Unmasked"; allowed is Default/, guarded((c) => (c.procMount = "Unmasked"))],
    [
      "seccomp off in a container",
      /seccompProfile\.type: found "Unconfined"; allowed is RuntimeDefault/,
      guarded((c) => (c.seccompProfile = { type: "Unconfined" })),
    ],
    [
      "no seccomp profile",
      /seccompProfile\.type: found nothing; allowed is RuntimeDefault/,
      edgePod((s) => delete s.securityContext.seccompProfile),
    ],
    [
      "root in a pod",
      /spec\.securityContext\.runAsUser: found 0; allowed is any user but 0/,
      edgePod((s) => (s.securityContext.runAsUser = 0)),
    ],
    ["root in a container", /containers\[0\]\.securityContext\.runAsUser: found 0/, guarded((c) => (c.runAsUser = 0))],
    [
      "root not forbidden",
      /runAsNonRoot: found nothing; allowed is true/,
      edgePod((s) => delete s.securityContext.runAsNonRoot),
    ],
    [
      "root allowed to one container",
      /containers\[0\]\.securityContext\.runAsNonRoot: found false/,
      guarded((c) => (c.runAsNonRoot = false)),
    ],
    ["the host's network", /spec\.hostNetwork: found true; allowed is false/, edgePod((s) => (s.hostNetwork = true))],
    ["the host's processes", /spec\.hostPID: found true; allowed is false/, edgePod((s) => (s.hostPID = true))],
    ["the host's memory", /spec\.hostIPC: found true; allowed is false/, edgePod((s) => (s.hostIPC = true))],
    [
      "a folder of the host",
      /volumes\[8\]: found "hostPath"; allowed is one of configMap/,
      edgePod((s) => s.volumes.push({ name: "host", hostPath: { path: "/" } })),
    ],
    [
      "a port of the host",
      /ports\[0\]\.hostPort: found 80; allowed is none/,
      edgePod((s) => (s.containers[0].ports[0].hostPort = 80)),
    ],
    [
      "an unsafe sysctl",
      /sysctls\[0\]\.name: found "kernel\.msgmax"/,
      edgePod((s) => (s.securityContext.sysctls = [{ name: "kernel.msgmax", value: "1" }])),
    ],
    [
      "another type of SELinux",
      /seLinuxOptions\.type: found "spc_t"/,
      guarded((c) => (c.seLinuxOptions = { type: "spc_t" })),
    ],
    [
      "a user of SELinux",
      /seLinuxOptions\.user: found "system_u"; allowed is none/,
      guarded((c) => (c.seLinuxOptions = { user: "system_u" })),
    ],
    [
      "a role of SELinux",
      /seLinuxOptions\.role: found "system_r"; allowed is none/,
      guarded((c) => (c.seLinuxOptions = { role: "system_r" })),
    ],
    [
      "AppArmor off",
      /appArmorProfile\.type: found "Unconfined"/,
      guarded((c) => (c.appArmorProfile = { type: "Unconfined" })),
    ],
    [
      "AppArmor off by annotation",
      /annotations\["container\.apparmor.*: found "unconfined"/,
      (stack: ChangedStack) => {
        stack.object("Deployment", "edge")["spec"].template.metadata.annotations[
          "container.apparmor.security.beta.kubernetes.io/nginx"
        ] = "unconfined";
      },
    ],
    [
      "a process of the host",
      /windowsOptions\.hostProcess: found true; allowed is false/,
      guarded((c) => (c.windowsOptions = { hostProcess: true })),
    ],
    [
      "a probe of another host",
      /livenessProbe\.host: found "10\.0\.0\.1"/,
      edgePod((s) => (s.containers[0].livenessProbe.httpGet.host = "10.0.0.1")),
    ],
    [
      "a hook that asks another host",
      /lifecycle\.postStart\.host: found "10\.0\.0\.1"/,
      edgePod((s) => (s.containers[0].lifecycle.postStart = { httpGet: { host: "10.0.0.1", port: 80 } })),
    ],
    [
      "a container that prepares the pod",
      /initContainers\[0\]\.securityContext\.privileged: found true/,
      databasePod((s) => (s.initContainers[0].securityContext.privileged = true)),
    ],
  ] as const
).map(([breaks, says, change]) => ({ rule: "pod-security", breaks, says, change }));
