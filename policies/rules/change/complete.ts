import { z } from "zod";
import { COMPONENTS } from "../../../components/common/names.ts";
import { componentOf, fileIn, namespaceOf, objectName, titleOf } from "../../facts/stack.ts";
import { workloadsOf } from "../../facts/workloads.ts";
import { stackRule } from "../../rule.ts";

/** The files of each component that other rules read. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  [COMPONENTS.edge]: ["nginx.conf", "servers.conf", "proxy.conf", "peer.conf", "upstream.conf", "sidecar.json"],
  [COMPONENTS.api]: [],
  [COMPONENTS.pooler]: ["pgbouncer.ini", "hba.conf", "haproxy.cfg"],
  [COMPONENTS.postgres]: ["10-patroni.yml", "20-dynamic.yml", "reconciler.json"],
  [COMPONENTS.redis]: ["redis.conf", "users.acl"],
  [COMPONENTS.redisKeeper]: ["keeper.json"],
  [COMPONENTS.witness]: ["witness.json"],
  [COMPONENTS.regionController]: ["region.json"],
  [COMPONENTS.globalDns]: ["Corefile", "sidecar.json"],
};

const config = z.strictObject({
  without: z
    .array(z.enum(Object.keys(FILES) as [string, ...string[]]))
    .default([])
    .describe("components that this stack does not have: global-dns where iam-ha:globalDns.provider is none"),
});

export const complete = stackRule({
  name: "complete",
  description:
    "Every component is there, with its pods, its namespace and the files of configuration that other rules read.",
  severity: "high",
  why: "A rule about a file says nothing of a stack that does not have it: a renamed file, label or object would silence the rule instead of breaking it.",
  remediation:
    "Name files and the label app.kubernetes.io/name as components do (components/common/names.ts); where a rename is meant, change the rules' readers with it. List components that are left out on purpose under `without`.",
  config,
  check({ stack, config, report }) {
    const workloads = workloadsOf(stack);
    const namespaces = new Set(stack.objects("Namespace").map(objectName));
    for (const { resource } of workloads)
      if (!namespaces.has(String(namespaceOf(resource))))
        report(
          `${titleOf(resource)} metadata.namespace: found ${namespaceOf(resource)}, which the stack does not make`,
          resource,
        );
    for (const [component, files] of Object.entries(FILES)) {
      const there = workloads.some(({ resource }) => componentOf(resource) === component);
      if (config.without.includes(component)) {
        if (there) report(`config without: found ${component}, which this stack has`);
        continue;
      }
      if (!there)
        report(`${component}: found no Deployment or StatefulSet with that app.kubernetes.io/name; one is needed`);
      for (const file of files) {
        const holders = stack.resources.filter((resource) => fileIn(resource, component, file) !== undefined);
        if (holders.length !== 1)
          report(`${component}: found ${holders.length} ConfigMaps with the file ${file}; there must be one`);
      }
    }
  },
});
