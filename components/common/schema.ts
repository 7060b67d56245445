import { z } from "zod";

/** A Kubernetes object name that may also be a DNS label (RFC 1123). */
export const dnsLabel = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "must be a DNS label: lower-case letters, digits and '-', 63 at most");

/** A fully qualified domain name without a trailing dot. */
export const dnsName = z
  .string()
  .max(253)
  .regex(/^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/, "must be a DNS name");

/** A network, such as "10.0.0.0/8". */
export const cidr = z.union([z.cidrv4(), z.cidrv6()], 'must be a network in CIDR notation, such as "10.0.0.0/8"');

export const port = z.int().min(1).max(65535);

/** A Kubernetes quantity for CPU, such as "250m" or "2". */
export const cpuQuantity = z
  .string()
  .regex(/^([0-9]+m|[0-9]+(\.[0-9]+)?)$/, 'must be a CPU quantity such as "250m" or "2"');

/** A Kubernetes quantity for bytes, such as "512Mi". */
export const byteQuantity = z
  .string()
  .regex(/^[0-9]+(Ki|Mi|Gi|Ti)$/, 'must be a quantity of bytes such as "512Mi" or "20Gi"');

/** Compute resources of one container. Memory request and limit are equal by intent: a database that is evicted or
 *  killed for memory it was promised is an outage. CPU has a request, and a limit of its own. */
export const resources = z.strictObject({
  cpu: cpuQuantity.describe("CPU that is reserved (request)"),
  cpuLimit: cpuQuantity.describe("CPU that may be used at most (limit)"),
  memory: byteQuantity.describe("memory, both request and limit"),
});
export type Resources = z.infer<typeof resources>;

/** How many bytes a Kubernetes quantity is. */
export function quantityBytes(quantity: string): number {
  const match = /^([0-9]+)(Ki|Mi|Gi|Ti)$/.exec(quantity);
  if (!match) throw new RangeError(`not a quantity of bytes: ${quantity}`);
  const power = ["Ki", "Mi", "Gi", "Ti"].indexOf(match[2]!) + 1;
  return Number(match[1]) * 1024 ** power;
}

/** How many cores a Kubernetes CPU quantity is. */
export function quantityCores(quantity: string): number {
  return quantity.endsWith("m") ? Number(quantity.slice(0, -1)) / 1000 : Number(quantity);
}
