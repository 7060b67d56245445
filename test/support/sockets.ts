import { createServer, type AddressInfo, type Server } from "node:net";
import { createSocket, type Socket } from "node:dgram";

/** Ports that nobody listens on, on any address; below the range from which the kernel takes those of outgoing
 *  connections, so that none is taken before it is used. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  try {
    while (held.length < count) {
      const server = createServer();
      const port = 10_000 + Math.floor(Math.random() * 20_000);
      const taken = await new Promise<boolean>((resolve) => {
        server.once("error", () => resolve(true));
        server.listen(port, "0.0.0.0", () => resolve(false));
      });
      if (!taken) held.push(server);
    }
    return held.map((server) => (server.address() as AddressInfo).port);
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** A DNS server for A records on port 53 of a loopback address: names can come, go and change while it runs. */
export class TestDns {
  readonly #records = new Map<string, string>();
  readonly #socket: Socket;

  readonly #ttlSeconds: number;

  private constructor(socket: Socket, ttlSeconds: number) {
    this.#socket = socket;
    this.#ttlSeconds = ttlSeconds;
    socket.on("message", (query, from) => {
      const answer = this.#answer(query);
      if (answer) socket.send(answer, from.port, from.address);
    });
  }

  /** @param ttlSeconds of every record, 255 at most */
  static async start(address: string, ttlSeconds = 1): Promise<TestDns> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(53, address, () => resolve());
    });
    return new TestDns(socket, ttlSeconds);
  }

  /** Sets the address of a name; undefined takes the name away. */
  set(name: string, address: string | undefined): void {
    if (address === undefined) this.#records.delete(name);
    else this.#records.set(name, address);
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #answer(query: Buffer): Buffer | undefined {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    if (at + 5 > query.length) return undefined;
    const question = query.subarray(12, at + 5);
    const wantsA = query.readUInt16BE(at + 1) === 1;
    const known = this.#records.get(labels.join(".").toLowerCase());
    const address = wantsA ? known : undefined;
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(known === undefined ? 0x8583 : 0x8580, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(address ? 1 : 0, 6);
    if (!address) return Buffer.concat([header, question]);
    const record = Buffer.from([
      0xc0,
      12,
      0,
      1,
      0,
      1,
      0,
      0,
      0,
      this.#ttlSeconds,
      0,
      4,
      ...address.split(".").map(Number),
    ]);
    return Buffer.concat([header, question, record]);
  }
}
