import { z } from "zod";
import { COMPONENTS } from "../../components/common/names.ts";
import { jsonAs } from "./parsed.ts";
import { containersOf } from "./pods.ts";
import { podsOf, type Pods } from "./sets.ts";
import { CannotJudge, fileIn, titleOf, type Resource, type Stack } from "./stack.ts";

const CONF = "redis.conf";
const KEEPER = "keeper.json";

/** redis.conf: the value of each directive, without quotes, by its name in lower case. */
export type RedisConf = Readonly<Record<string, string>>;

/** Where redis.conf's directives stand, for messages. */
export const CONF_PATH = `data["${CONF}"]`;
/** Where the keeper's configuration stands. */
export const KEEPER_PATH = `data["${KEEPER}"]`;

/** redis.conf in a resource; undefined for any other resource.
 *  @throws CannotJudge when it says that there is more elsewhere */
export function redisConfIn(resource: Resource): RedisConf | undefined {
  const text = fileIn(resource, COMPONENTS.redis, CONF);
  return text === undefined ? undefined : parseConf(text);
}

/** A directive's value.
 *  @throws CannotJudge when it is not there: Redis' own default is not known here */
export function directive(conf: RedisConf, name: string): string {
  const value = conf[name];
  if (value === undefined) throw new CannotJudge(`${CONF_PATH}: ${name} is not set`);
  return value;
}

/** The last of several lines holds, as in Redis. */
function parseConf(text: string): RedisConf {
  const conf: Record<string, string> = {};
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name, value] = /^(\S+)(?:\s+(.*))?$/.exec(line)!;
    const key = name!.toLowerCase();
    if (key === "include") throw new CannotJudge(`${CONF_PATH}: ${line}: what is in that file is not known`);
    conf[key] = (value ?? "").replace(/^"(.*)"$|^'(.*)'$/, "$1$2");
  }
  return conf;
}

const keeper = z.looseObject({
  region: z.string().min(1),
  masters: z.int(),
  nodes: z.array(z.looseObject({ name: z.string().min(1), host: z.string().min(1) })),
});

/** What the keeper forms the cluster of. */
export interface Keeper extends z.infer<typeof keeper> {
  readonly resource: Resource;
}

/** The keeper's configuration.
 *  @throws CannotJudge when there is none */
export function keeperOf(stack: Stack): Keeper {
  const { resource, text } = stack.file(COMPONENTS.redisKeeper, KEEPER);
  return { ...jsonAs(keeper, text, KEEPER_PATH), resource };
}

/** The nodes of the region.
 *  @throws CannotJudge */
export function nodesOf(stack: Stack): Pods {
  return podsOf(stack, "StatefulSet", COMPONENTS.redis);
}

/** Whether a name is one by which a pod of the StatefulSet announces itself to the cluster.
 *  @throws CannotJudge when the pods do not tell how they are named */
export function announces({ resource, template }: Pods, host: string): boolean {
  const { name, namespace } = resource.props["metadata"] as { readonly name: string; readonly namespace: string };
  const variable = containersOf(template)
    .flatMap(({ container }) => container.env ?? [])
    .find((one) => one.name === "ANNOUNCED_HOST")?.value;
  if (!variable?.startsWith("$(POD_NAME).")) {
    throw new CannotJudge(
      `${titleOf(resource)} env ANNOUNCED_HOST: ${variable === undefined ? "is not set" : `found ${variable}; it must begin with the pod's name`}`,
    );
  }
  const domain = variable.slice("$(POD_NAME)".length).replaceAll("$(POD_NAMESPACE)", namespace);
  const pod = host.endsWith(domain) ? host.slice(0, -domain.length) : "";
  return pod.startsWith(`${name}-`) && /^[0-9]+$/.test(pod.slice(name.length + 1));
}
