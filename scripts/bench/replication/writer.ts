import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "./connection.ts";

/** Usage: writer.ts ACCESS RATE SECONDS. Writes rows one after the other at a steady rate, and prints for each the time
 *  at which its commit was acknowledged: `{"id": 1, "at": 1700000000000.0}`. */
const [access, rate, seconds] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
const client = await connect(access);
await client.query("create table if not exists bench_replication (id bigint primary key, body text not null)");
await client.query("truncate bench_replication");
await sleep(1000);
const begun = performance.now();
const lines: string[] = [];
for (let id = 1; id <= rate * seconds; id++) {
  const due = begun + (id / rate) * 1000;
  if (performance.now() < due) await sleep(due - performance.now());
  await client.query("insert into bench_replication values ($1, repeat('x', 100))", [id]);
  lines.push(JSON.stringify({ id, at: performance.timeOrigin + performance.now() }));
}
await client.end();
process.stdout.write(`${lines.join("\n")}\n`);
