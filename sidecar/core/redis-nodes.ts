/** What Redis nodes say of themselves and of each other, as data. Parsing only, no I/O. */

export const SLOTS = 16384;

/** Slots from the first to the last one, both included. */
export type SlotRange = readonly [first: number, last: number];

export interface NodeAddress {
  readonly ip: string;
  readonly port: number;
  readonly busPort: number;
}

/** One line of CLUSTER NODES: what a node knows of another one, or of itself. */
export interface Peer {
  readonly id: string;
  readonly address: NodeAddress;
  /** Announced host name; empty when the one who tells has not heard it. */
  readonly hostname: string;
  readonly myself: boolean;
  readonly role: "master" | "replica";
  /** Id of its master; undefined for a master. */
  readonly masterId: string | undefined;
  /** Given up by a majority of the masters. */
  readonly failed: boolean;
  /** Silent for longer than the node time-out, as seen by the one who tells alone. */
  readonly suspect: boolean;
  /** Being introduced: its id is made up and means nothing yet. */
  readonly handshake: boolean;
  /** Its address turned out to be another node's. */
  readonly noAddress: boolean;
  readonly connected: boolean;
  /** Version of its slots, or for a replica of its master's: the higher one wins. */
  readonly configEpoch: number;
  readonly slots: readonly SlotRange[];
}

/** One node as it describes itself. */
export interface NodeView {
  readonly self: Peer;
  /** Everyone it knows but itself. */
  readonly peers: readonly Peer[];
  /** Keys it holds. */
  readonly keys: number;
  /** For a replica: whether it is in contact with its master and has all of its data. */
  readonly inSync: boolean;
  /** For a replica: where it looks for its master. Another place than the cluster's table gives, once the table has learnt
   *  of a new address by hearsay. */
  readonly masterAt: { readonly ip: string; readonly port: number } | undefined;
  /** How far it is in the stream of its master's writes, or in its own; comparable between replicas of one master. */
  readonly offset: number;
}

/** Parses the reply of CLUSTER NODES.
 *  @throws RangeError for a line that is none, or without the line of the node itself */
export function parseClusterNodes(text: string): { self: Peer; peers: Peer[] } {
  const all = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(parsePeer);
  const self = all.find((peer) => peer.myself);
  if (!self) throw new RangeError("CLUSTER NODES without a line of the node itself");
  return { self, peers: all.filter((peer) => peer !== self) };
}

function parsePeer(line: string): Peer {
  const [id, where, flagText, master, , , epoch, link, ...slots] = line.trim().split(" ");
  if (!id || !where || !flagText || !master || !link) throw new RangeError(`not a line of CLUSTER NODES: ${line}`);
  const [endpoint = "", hostname = ""] = where.split(",");
  const flags = flagText.split(",");
  return {
    id,
    address: parseAddress(endpoint),
    hostname,
    myself: flags.includes("myself"),
    role: flags.includes("slave") ? "replica" : "master",
    masterId: master === "-" ? undefined : master,
    failed: flags.includes("fail"),
    suspect: flags.includes("fail?"),
    handshake: flags.includes("handshake"),
    noAddress: flags.includes("noaddr"),
    connected: link === "connected",
    configEpoch: Number(epoch),
    // [93-<-id] and [93->-id] are slots on the move: they still count where they are listed plainly.
    slots: slots.filter((slot) => !slot.startsWith("[")).map(parseRange),
  };
}

/** `10.0.0.7:6379@16379`, also with an IPv6 address, and `:0@0` for none. */
function parseAddress(endpoint: string): NodeAddress {
  const match = /^(.*):([0-9]+)@([0-9]+)$/.exec(endpoint);
  if (!match) throw new RangeError(`not an address of CLUSTER NODES: ${endpoint}`);
  return { ip: match[1]!, port: Number(match[2]), busPort: Number(match[3]) };
}

function parseRange(text: string): SlotRange {
  const match = /^([0-9]+)(?:-([0-9]+))?$/.exec(text);
  if (!match) throw new RangeError(`not a range of slots: ${text}`);
  return [Number(match[1]), Number(match[2] ?? match[1])];
}

/** Parses the reply of INFO: `name:value` lines. */
export function parseInfo(text: string): Map<string, string> {
  const entries = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#") && line.includes(":"))
    .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)] as const);
  return new Map(entries);
}

/** Puts together what one node said to CLUSTER NODES and INFO. */
export function nodeView(clusterNodes: string, info: string): NodeView {
  const fields = parseInfo(info);
  let keys = 0;
  for (const [name, value] of fields) {
    if (/^db[0-9]+$/.test(name)) keys += Number(/keys=([0-9]+)/.exec(value)?.[1] ?? 0);
  }
  const ip = fields.get("master_host");
  return {
    ...parseClusterNodes(clusterNodes),
    keys,
    inSync: fields.get("master_link_status") === "up",
    masterAt: ip === undefined ? undefined : { ip, port: Number(fields.get("master_port")) },
    offset: Number(fields.get("slave_repl_offset") ?? fields.get("master_repl_offset") ?? 0),
  };
}

export function slotCount(ranges: readonly SlotRange[]): number {
  return ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

export function sameAddress(a: NodeAddress, b: NodeAddress): boolean {
  return a.ip === b.ip && a.port === b.port && a.busPort === b.busPort;
}
