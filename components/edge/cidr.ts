import { isIP } from "node:net";

export interface Cidr {
  readonly address: string;
  readonly bits: number;
  readonly family: 4 | 6;
}

/** Reads a network in CIDR notation; undefined where it is none. A plain address is none: whoever means one host writes
 *  /32 or /128. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([0-9a-fA-F:.]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (!match) return undefined;
  const family = isIP(match[1]!);
  const bits = Number(match[2]);
  if (family !== 4 && family !== 6) return undefined;
  return bits <= (family === 4 ? 32 : 128) ? { address: match[1]!, bits, family } : undefined;
}

/** Whether a network is so wide that trusting it means trusting strangers: wider than 10.0.0.0/8 or than the private
 *  networks of IPv6, fc00::/7. */
export function isTooWide(text: string): boolean {
  const cidr = parseCidr(text);
  return cidr !== undefined && cidr.bits < (cidr.family === 4 ? 8 : 7);
}
