import type { Instance } from "./instance.ts";

/** Ports on the host's loopback that lead into one region. */
export type HostPorts = {
  /** The region's Kubernetes API server. */
  readonly api: number;
  /** The region's edge, TLS. */
  readonly https: number;
  /** The region's edge, plain HTTP (redirects only). */
  readonly http: number;
};

/** Distance between the three kinds of port of one instance: more regions than this do not fit. */
const STRIDE = 10;

/**
 * | instance | api | https | http |
 * |---|---|---|---|
 * | `default` | 16440 + i | 8440 + i | 8080 + i |
 * | another one, or `IAM_HA_PORT_BASE` given | base + i | base + 10 + i | base + 20 + i |
 *
 * with i the region's index from 1, and base = 20000 + 30 k, k from 0 to 299 by the instance's name: below the kernel's
 * range for outgoing connections (32768). Two names can meet in one k; the preflight then names the port in use.
 */
export function hostPorts(instance: Pick<Instance, "name" | "portBase">, index: number): HostPorts {
  if (!Number.isInteger(index) || index < 1 || index >= STRIDE) {
    throw new RangeError(`Region index ${index}: host ports are planned for 1 to ${STRIDE - 1}.`);
  }
  if (instance.portBase === undefined && instance.name === "default") {
    return { api: 16440 + index, https: 8440 + index, http: 8080 + index };
  }
  const base = instance.portBase ?? 20_000 + 3 * STRIDE * (hash(instance.name) % 300);
  return { api: base + index, https: base + STRIDE + index, http: base + 2 * STRIDE + index };
}

/** FNV-1a, 32 bits: spreads short names evenly; nothing depends on its secrecy. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}
