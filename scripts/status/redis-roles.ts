/** Role by pod name from the answer to CLUSTER NODES. A node announces its pod's host name:
 *  `<id> <ip:port@cport[,hostname]> <flags> <master> … <slots>`. */
export function redisRoles(clusterNodes: string): Record<string, string> {
  const roles: Record<string, string> = {};
  for (const line of clusterNodes.split("\n")) {
    const [, address = "", flags = ""] = line.split(" ");
    const pod = /,([a-z0-9-]+)\./.exec(address)?.[1];
    if (pod === undefined) continue;
    const set = flags.split(",");
    const failed = set.includes("fail") ? " (failed)" : "";
    roles[pod] = `${set.includes("master") ? "master" : "replica"}${failed}`;
  }
  return roles;
}
