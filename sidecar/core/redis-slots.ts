import { SLOTS, type Peer, type SlotRange } from "./redis-nodes.ts";

/** Which node of a Redis Cluster serves which slot, as a client has to know it. No I/O. */

/** Hash slot of a key. The key is its bytes as text, one character each (latin1). */
export function keySlot(key: string): number {
  // Only what stands between the first { and the next } counts, when there is anything.
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (let i = 0; i < hashed.length; i++) {
    crc = ((crc << 8) & 0xffff) ^ CRC16[((crc >> 8) ^ hashed.charCodeAt(i)) & 0xff]!;
  }
  return crc % SLOTS;
}

/** CRC-16/XMODEM, as Redis Cluster uses it. */
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  return crc;
});

export interface SlotOwner {
  readonly id: string;
  readonly hostname: string;
  readonly port: number;
  readonly epoch: number;
  /** Given up by the others, so that nobody serves its slots for now. */
  readonly failed: boolean;
  /** What it serves, not only what it claims. */
  readonly slots: readonly SlotRange[];
}

export interface SlotMap {
  readonly owners: readonly SlotOwner[];
  /** Slots without an owner, or with one that was given up. */
  readonly dark: readonly SlotRange[];
  /** Changes whenever a slot has another owner than before, also when it has come back to a former one. */
  readonly signature: string;
  ownerOf(slot: number): SlotOwner | undefined;
}

/** Puts the views of several nodes together: of two masters that claim a slot, the higher epoch has it. */
export function slotMap(views: readonly (readonly Peer[])[]): SlotMap {
  const claims = new Map<string, Peer>();
  const failed = new Set<string>();
  for (const peer of views.flat()) {
    if (peer.failed) failed.add(peer.id);
    if (peer.role !== "master" || peer.handshake || peer.slots.length === 0) continue;
    const known = claims.get(peer.id);
    // Of its own slots a master knows best.
    if (!known || peer.configEpoch > known.configEpoch || (peer.configEpoch === known.configEpoch && peer.myself))
      claims.set(peer.id, peer);
  }
  const claimants = [...claims.values()].sort((a, b) => a.configEpoch - b.configEpoch || (a.id < b.id ? -1 : 1));
  const index = new Int16Array(SLOTS).fill(-1);
  claimants.forEach(({ slots }, i) => slots.forEach(([first, last]) => index.fill(i, first, last + 1)));

  const served = claimants.map((): SlotRange[] => []);
  const dark: SlotRange[] = [];
  for (let first = 0; first < SLOTS;) {
    let last = first;
    while (last + 1 < SLOTS && index[last + 1] === index[first]) last++;
    const owner = index[first]!;
    if (owner >= 0) served[owner]!.push([first, last]);
    if (owner < 0 || failed.has(claimants[owner]!.id)) dark.push([first, last]);
    first = last + 1;
  }
  const owners = claimants.map((peer, i): SlotOwner => ({
    id: peer.id,
    hostname: peer.hostname,
    port: peer.address.port,
    epoch: peer.configEpoch,
    failed: failed.has(peer.id),
    slots: served[i]!,
  }));
  return {
    owners: owners.filter(({ slots }) => slots.length > 0),
    dark,
    signature: owners
      .map(({ id, epoch, slots }) => `${id}@${epoch}:${slots.map(([a, b]) => `${a}-${b}`).join(",")}`)
      .sort()
      .join(" "),
    ownerOf: (slot) => owners[index[slot]!],
  };
}

/** Whether a slot lies in one of the ranges. */
export function inRanges(ranges: readonly SlotRange[], slot: number): boolean {
  return ranges.some(([first, last]) => slot >= first && slot <= last);
}
