// One end of a measurement across the emulated network; it runs inside a region's network namespace.
//   serve ADDRESS            UDP echo on 9000, TCP sink on 9001
//   ping ADDRESS COUNT MS    round trips in milliseconds, one every MS; prints {"rtts": […], "lost": n}
//   burst ADDRESS COUNT      numbered datagrams at once; prints {"echoed": […]} in the order of their return
//   stream ADDRESS SECONDS   bytes that the sink took; prints {"bytes": n, "seconds": s}
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const [what, address = "", ...numbers] = process.argv.slice(2);
const [first = 0, second = 0] = numbers.map(Number);
const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

if (what === "serve") {
  const echo = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 });
  echo.on("message", (data, from) => echo.send(data, from.port, from.address));
  echo.bind(9000, address, () =>
    createServer((socket) => {
      let bytes = 0;
      socket.on("data", (data) => (bytes += data.length)).on("end", () => socket.end(String(bytes)));
      socket.on("error", () => {});
    }).listen(9001, address, () => print("ready")),
  );
} else if (what === "stream") {
  const begun = performance.now();
  const socket = connect(9001, address);
  let answer = "";
  socket.setEncoding("utf8").on("data", (text: string) => (answer += text));
  const block = Buffer.alloc(256 * 1024);
  const more = (): void => {
    while (performance.now() - begun < first * 1000) {
      if (socket.write(block)) continue;
      socket.once("drain", more);
      return;
    }
    socket.end();
  };
  socket
    .on("connect", more)
    .on("close", () => print({ bytes: Number(answer), seconds: (performance.now() - begun) / 1000 }));
} else {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 });
  const sent = new Map<number, number>();
  const rtts: number[] = [];
  const echoed: number[] = [];
  socket.on("message", (data) => {
    const number = data.readUInt32BE();
    echoed.push(number);
    rtts.push(performance.now() - sent.get(number)!);
  });
  for (let number = 0; number < first; number++) {
    const data = Buffer.alloc(64);
    data.writeUInt32BE(number);
    sent.set(number, performance.now());
    socket.send(data, 9000, address);
    if (what === "ping") await sleep(second);
    else if (number % 50 === 49) await sleep(2);
  }
  await sleep(500);
  socket.close();
  print(what === "ping" ? { rtts, lost: first - rtts.length } : { echoed });
}
