/** A position in PostgreSQL's write-ahead log as a number of bytes: `16/B374D848`, or Patroni's decimal number.
 *  @throws RangeError for anything else */
export function parseLsn(text: string): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match) return (BigInt(`0x${match[1]}`) << 32n) + BigInt(`0x${match[2]}`);
  if (/^[0-9]{1,20}$/.test(text)) return BigInt(text);
  throw new RangeError(`not a position in the write-ahead log: ${JSON.stringify(text.slice(0, 40))}`);
}

/** The position as PostgreSQL writes it. */
export function formatLsn(position: bigint): string {
  const hex = (part: bigint) => part.toString(16).toUpperCase();
  return `${hex(position >> 32n)}/${hex(position & 0xffffffffn)}`;
}

/** How many bytes `behind` is behind `ahead`; 0 when it is not. */
export function bytesBehind(ahead: string, behind: string): number {
  const difference = parseLsn(ahead) - parseLsn(behind);
  return difference > 0n ? Number(difference) : 0;
}

/** Whether position `a` is at or after position `b`. */
export function reached(a: string, b: string): boolean {
  return parseLsn(a) >= parseLsn(b);
}
