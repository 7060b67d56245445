import type { Mutation } from "../mutation.ts";
import type { ChangedStack } from "../stack.ts";

const bare = (kind: string, name: string) => (stack: ChangedStack) => {
  stack.registered(kind, name).protect = false;
};
const retention = (change: (policy: Record<string, string>) => void) => (stack: ChangedStack) => {
  const spec = stack.object("StatefulSet", "postgresql-beijing")["spec"] as Record<string, Record<string, string>>;
  change(spec["persistentVolumeClaimRetentionPolicy"]!);
};
const provider = (name: string) => (stack: ChangedStack) => {
  const edge = stack.registered("Deployment", "edge");
  edge.provider = name && edge.provider.replace(/::beijing::/, `::${name}::`);
};
/** Gives a file another name. */
const renamed = (map: string, from: string, to: string) => (stack: ChangedStack) => {
  const data = stack.object("ConfigMap", map)["data"] as Record<string, string>;
  data[to] = data[from]!;
  delete data[from];
};

export const changeMutations: readonly Mutation[] = [
  ...(
    [
      ["Namespace", "iam", "every volume in it goes with it"],
      ["StatefulSet", "postgresql-beijing", "its pods have volumes"],
      ["StatefulSet", "redis-beijing", "its pods have volumes"],
      ["StatefulSet", "witness", "its pods have volumes"],
      ["Service", "postgresql-config", "the state that is kept in its Endpoints goes with it"],
      ["Secret", "postgresql-credentials", "it opens what is in volumes"],
      ["Secret", "witness-users", "it opens what is in volumes"],
    ] as const
  ).map(([kind, name, why]) => ({
    rule: "data-protected",
    breaks: `${kind} ${name} open`,
    says: new RegExp(`${kind}/${name}: found protect false, and ${why}; it must be true`),
    change: bare(kind, name),
  })),
  {
    rule: "data-protected",
    breaks: "a volume open",
    says: /PersistentVolumeClaim\/spare: found protect false, and it is a volume/,
    change: (stack) => {
      const model = stack.registered("ServiceAccount", "edge");
      stack.resources.push({
        ...structuredClone(model),
        type: "kubernetes:core/v1:PersistentVolumeClaim",
        name: "spare",
        urn: model.urn.replace(/ServiceAccount::.*$/, "PersistentVolumeClaim::spare"),
        inputs: { metadata: { ...(model.inputs["metadata"] as object), name: "spare" }, spec: {} },
      });
    },
  },
  {
    rule: "volumes-retained",
    breaks: "volumes deleted with their set",
    says: /persistentVolumeClaimRetentionPolicy\.whenDeleted: found Delete; it must be Retain/,
    change: retention((policy) => (policy["whenDeleted"] = "Delete")),
  },
  {
    rule: "volumes-retained",
    breaks: "volumes deleted with their pod",
    says: /persistentVolumeClaimRetentionPolicy\.whenScaled: found Delete; it must be Retain/,
    change: retention((policy) => (policy["whenScaled"] = "Delete")),
  },
  {
    rule: "volumes-retained",
    breaks: "volumes not spoken of",
    says: /persistentVolumeClaimRetentionPolicy\.whenDeleted: found nothing/,
    change: retention((policy) => delete policy["whenDeleted"]),
  },
  {
    rule: "volumes-retained",
    breaks: "data deleted to be replaced",
    says: /options deleteBeforeReplace: found true/,
    change: (stack) => {
      stack.registered("StatefulSet", "postgresql-beijing").deleteBeforeReplace = true;
    },
  },
  {
    rule: "volumes-retained",
    breaks: "the namespace deleted to be replaced",
    says: /options deleteBeforeReplace: found true/,
    change: (stack) => {
      stack.registered("Namespace", "iam").deleteBeforeReplace = true;
    },
  },
  {
    rule: "own-provider",
    breaks: "no provider",
    says: /provider: found none that is named/,
    change: provider(""),
  },
  {
    rule: "own-provider",
    breaks: "a default provider",
    says: /provider: found default_4_30_0 of pulumi:providers:kubernetes/,
    change: provider("default_4_30_0"),
  },
  {
    rule: "own-provider",
    breaks: "another region's provider",
    says: /provider: found shanghai for an object whose label app\.kubernetes\.io\/instance is beijing/,
    change: provider("shanghai"),
  },
  {
    rule: "complete",
    breaks: "a file with another name",
    says: /redis: found 0 ConfigMaps with the file users\.acl; there must be one/,
    change: renamed("redis-config", "users.acl", "acl"),
  },
  {
    rule: "complete",
    breaks: "a file that is there twice",
    says: /redis: found 2 ConfigMaps with the file users\.acl/,
    change: (stack) => {
      (stack.object("ConfigMap", "redis-scripts")["data"] as Record<string, string>)["users.acl"] = "";
    },
  },
  {
    rule: "complete",
    breaks: "a component without pods",
    says: /redis-keeper: found no Deployment or StatefulSet with that app\.kubernetes\.io\/name/,
    change: (stack) => stack.remove("Deployment", "redis-keeper"),
  },
  {
    rule: "complete",
    breaks: "no namespace",
    says: /Deployment\/edge metadata\.namespace: found iam, which the stack does not make/,
    change: (stack) => stack.remove("Namespace", "iam"),
  },
];
