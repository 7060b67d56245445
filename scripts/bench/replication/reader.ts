import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "./connection.ts";

/** Usage: reader.ts ACCESS LAST SECONDS. Asks for the newest visible row every 2 ms until row LAST is there, and prints
 *  when each was first seen: `{"id": 1, "at": 1700000000000.0}`, one line for each new newest row. */
const [access, last, seconds] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
const client = await connect(access);
const end = performance.now() + seconds * 1000;
const lines: string[] = [];
let newest = 0;
// What an earlier run has left must be gone first.
let emptied = false;
while (newest < last && performance.now() < end) {
  const { rows } = await client
    .query<{ id: string | null }>("select max(id) as id from bench_replication")
    .catch((error: { code?: string }) => {
      if (error.code !== "42P01") throw error; // the table has not arrived yet
      return { rows: [{ id: null }] };
    });
  const at = performance.timeOrigin + performance.now();
  const id = Number(rows[0]?.id ?? 0);
  emptied ||= id === 0;
  if (emptied && id > newest) {
    newest = id;
    lines.push(JSON.stringify({ id, at }));
  }
  await sleep(2);
}
await client.end();
process.stdout.write(`${lines.join("\n")}\n`);
if (newest < last) process.exitCode = 1;
