import { createSocket } from "node:dgram";

export interface DnsRecord {
  readonly type: "A" | "CNAME" | "other";
  readonly ttl: number;
  /** Address of an A record; empty otherwise. */
  readonly address: string;
}

export interface DnsAnswer {
  /** NOERROR, NXDOMAIN, REFUSED, … */
  readonly status: string;
  readonly records: readonly DnsRecord[];
}

const STATUS = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/** One question for A records over UDP to a port of 127.0.0.1, as a stub resolver asks it: what is in the answer is all
 *  it gets, no CNAME is followed.
 *  @throws Error without an answer in time */
export function queryA(port: number, name: string, timeoutMs = 6000): Promise<DnsAnswer> {
  return query(port, name, 1, timeoutMs);
}

/** The same for AAAA records, which a stub resolver asks for at the same time. */
export function queryAaaa(port: number, name: string, timeoutMs = 6000): Promise<DnsAnswer> {
  return query(port, name, 28, timeoutMs);
}

function query(port: number, name: string, type: number, timeoutMs: number): Promise<DnsAnswer> {
  const id = Math.floor(Math.random() * 65_536);
  const labels = name.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2); // recursion desired
  header.writeUInt16BE(1, 4);
  const question = Buffer.concat([header, ...labels, Buffer.from([0, 0, type, 0, 1])]);
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    const end = (act: () => void) => {
      clearTimeout(timer);
      socket.close();
      act();
    };
    const timer = setTimeout(() => end(() => reject(new Error(`no answer for ${name} in ${timeoutMs} ms`))), timeoutMs);
    socket.once("error", (error) => end(() => reject(error)));
    socket.on("message", (message) => {
      if (message.readUInt16BE(0) === id) end(() => resolve(parse(message)));
    });
    socket.send(question, port, "127.0.0.1");
  });
}

function parse(message: Buffer): DnsAnswer {
  const records: DnsRecord[] = [];
  let at = skipName(message, 12) + 4;
  for (let n = message.readUInt16BE(6); n > 0; n--) {
    at = skipName(message, at);
    const type = message.readUInt16BE(at);
    const length = message.readUInt16BE(at + 8);
    records.push({
      type: type === 1 ? "A" : type === 5 ? "CNAME" : "other",
      ttl: message.readUInt32BE(at + 4),
      address: type === 1 ? message.subarray(at + 10, at + 14).join(".") : "",
    });
    at += 10 + length;
  }
  const code = message[3]! & 15;
  return { status: STATUS[code] ?? String(code), records };
}

/** Where a name ends that begins at `at`. */
function skipName(message: Buffer, at: number): number {
  for (;;) {
    const length = message[at]!;
    if (length >= 192) return at + 2;
    if (length === 0) return at + 1;
    at += 1 + length;
  }
}
