/** One line of a pg_hba.conf, of PostgreSQL or of PgBouncer. */
export interface HbaLine {
  readonly text: string;
  /** `local`, `host`, `hostssl`, … */
  readonly type: string;
  /** How who comes proves who it is: `scram-sha-256`, `trust`, … Undefined for a line that has none. */
  readonly method: string | undefined;
}

/** The lines of a pg_hba.conf; comments and empty lines are none. */
export function hbaLines(lines: readonly string[]): HbaLine[] {
  return lines
    .map((line) => line.replace(/#.*$/, "").trim())
    .filter((line) => line !== "")
    .map((text) => {
      const words = text.match(/(?:"[^"]*"|[^\s"])+/g)!;
      const type = words[0];
      // An address may be followed by a mask of its own: that of "10.0.0.0 255.0.0.0".
      const at = type === "local" ? 3 : /^\d+\.\d+\.\d+\.\d+$/.test(words[4] ?? "") ? 5 : 4;
      return { text, type, method: words[at] };
    });
}

/** Methods by which a password crosses the network as it is or can be guessed from what crosses it, or none is asked for,
 *  are not among them. */
const NETWORK_METHODS = ["scram-sha-256", "cert"];
const LOCAL_METHODS = [...NETWORK_METHODS, "peer"];

/** What is wrong with a line: nobody from the network without TLS, nobody without proof. Whoever is rejected may be
 *  rejected in any way. */
export function hbaFault({ type, method }: HbaLine): string | undefined {
  if (method === "reject") return undefined;
  if (type === "local")
    return LOCAL_METHODS.includes(method ?? "") ? undefined : `local lines take ${LOCAL_METHODS.join(", ")}`;
  if (type !== "hostssl") return "network lines must be hostssl";
  return NETWORK_METHODS.includes(method ?? "") ? undefined : `network lines take ${NETWORK_METHODS.join(" or ")}`;
}
