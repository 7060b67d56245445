import assert from "node:assert/strict";
import { parseWrk } from "../../../scripts/bench/nginx/wrk.ts";

const OUTPUT = `Running 5s test @ https://127.0.0.1:8443/api/users
  1 threads and 32 connections
  Latency Distribution
     50%  523.15us
     99%    1.84s${" "}
  168 requests in 5.40s, 193.27KB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:     31.11
Transfer/sec:     35.79KB
`;

describe("what wrk prints", () => {
  it("is read with its units and its failures", () => {
    assert.deepEqual(parseWrk(OUTPUT), { requests: 168, perSecond: 31.11, p99Millis: 1840, failed: 10 });
    assert.equal(parseWrk(OUTPUT.replace("1.84s", "84.00us")).p99Millis, 0.084);
  });

  it("is not guessed at when it is something else", () => {
    assert.throws(() => parseWrk("unable to connect"), /did not print what was expected/);
  });
});
