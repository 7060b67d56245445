import assert from "node:assert/strict";
import fc from "fast-check";
import { nextAddresses } from "../../../sidecar/core/edge-addresses.ts";
import {
  activeAnswer,
  decideRoute,
  isSameWay,
  parseRoute,
  printRoute,
  UNKNOWN_ROUTE,
  type KnownRoute,
  type RouteFile,
  type SeenAnswer,
} from "../../../sidecar/core/edge-route.ts";
import type { ActiveAnswer } from "../../../sidecar/core/region-status.ts";

const REGIONS = ["beijing", "shanghai", "shenzhen"];
const HERE = "shanghai";
const PEER = { port: 8444, keepalive: 16, keepaliveIdleSeconds: 30 };
const hostOf = (region: string) => `api-${region}.iam.example.com`;

const answer = (active: string | undefined, epoch: number, edge = true): SeenAnswer => ({
  region: HERE,
  active: active === undefined ? undefined : { region: active, epoch },
  edge: edge && active !== undefined ? { host: hostOf(active) } : undefined,
});
const answers = fc.option(
  fc.record({
    region: fc.constantFrom(HERE, HERE, HERE, "beijing"),
    active: fc.option(fc.record({ region: fc.constantFrom(...REGIONS), epoch: fc.nat(5) }), { nil: undefined }),
    edge: fc.option(fc.constantFrom(...REGIONS.map((region) => ({ host: hostOf(region) }))), { nil: undefined }),
  }),
  { nil: undefined },
);

const routeFile: fc.Arbitrary<RouteFile> = fc.record({
  epoch: fc.option(fc.nat(), { nil: undefined }),
  route: fc.oneof(
    fc.constant({ to: "local" as const }),
    fc.constantFrom(...REGIONS).map((region) => ({ to: "remote" as const, region, host: hostOf(region) })),
  ),
  addresses: fc.uniqueArray(fc.oneof(fc.ipV4(), fc.constantFrom("2001:db8::1", "::1"))).map((list) => list.sort()),
});

describe("the route of an edge", () => {
  it("is its own region until anything is known, and follows who is active", () => {
    assert.deepEqual(decideRoute(HERE, UNKNOWN_ROUTE, undefined).known, UNKNOWN_ROUTE);
    assert.deepEqual(decideRoute(HERE, UNKNOWN_ROUTE, answer(undefined, 0)).known, UNKNOWN_ROUTE);
    const away = decideRoute(HERE, UNKNOWN_ROUTE, answer("beijing", 3)).known;
    assert.deepEqual(away, { epoch: 3, route: { to: "remote", region: "beijing", host: hostOf("beijing") } });
    assert.deepEqual(decideRoute(HERE, away, answer(HERE, 4)).known, { epoch: 4, route: { to: "local" } });
    assert.deepEqual(decideRoute(HERE, away, answer("shenzhen", 4)).known.route, {
      to: "remote",
      region: "shenzhen",
      host: hostOf("shenzhen"),
    });
  });

  it("stays what it was where an answer says nothing new, is older, or contradicts its own epoch", () => {
    const known: KnownRoute = decideRoute(HERE, UNKNOWN_ROUTE, answer("beijing", 3)).known;
    for (const seen of [
      undefined,
      answer(undefined, 0),
      answer(HERE, 2),
      answer("shenzhen", 3),
      answer("shenzhen", 4, false),
      { ...answer(HERE, 9), region: "beijing" },
    ])
      assert.equal(decideRoute(HERE, known, seen).known, known, JSON.stringify(seen));
  });

  it("never goes back to an older epoch, and is of the newest answer that says all", () => {
    fc.assert(
      fc.property(fc.array(answers, { maxLength: 12 }), (all) => {
        let known: KnownRoute = UNKNOWN_ROUTE;
        for (const seen of all) {
          const { known: next, cause } = decideRoute(HERE, known, seen);
          assert.ok(cause.length > 0);
          assert.ok((next.epoch ?? -1) >= (known.epoch ?? -1));
          if (next !== known) {
            assert.equal(seen!.active!.epoch, next.epoch);
            assert.equal(next.route.to === "local", seen!.active!.region === HERE);
          }
          // Said again, it changes nothing.
          assert.deepEqual(decideRoute(HERE, next, seen).known, next);
          known = next;
        }
      }),
    );
  });

  it("is read from what the region controller says, and from nothing that could be more than a name", () => {
    const said: ActiveAnswer = {
      region: HERE,
      active: { region: "beijing", epoch: 7, since: "2026-11-24T00:00:00Z" },
      ageMillis: 12,
      edge: { host: hostOf("beijing"), port: 443 },
    };
    assert.deepEqual(activeAnswer.parse(JSON.parse(JSON.stringify(said))), answer("beijing", 7));
    const nobody: ActiveAnswer = { region: HERE, active: undefined, ageMillis: undefined, edge: undefined };
    assert.equal(activeAnswer.parse(JSON.parse(JSON.stringify(nobody))).active, undefined);
    assert.deepEqual(activeAnswer.parse({ region: HERE, active: null, edge: null }), answer(undefined, 0));
    for (const host of ["a b", "a;b", "a{b", "A.example.com", "", "a..b", "x".repeat(64), "a\nb", "-a", "$host"])
      assert.equal(activeAnswer.safeParse({ ...said, edge: { host } }).success, false, host);
    for (const wrong of [null, [], "x", {}, { region: HERE, active: { region: "beijing", epoch: -1 } }])
      assert.equal(activeAnswer.safeParse(wrong).success, false);
  });
});

describe("the route's file", () => {
  it("tells a restarted sidecar what it knew", () => {
    fc.assert(fc.property(routeFile, (file) => assert.deepEqual(parseRoute(printRoute(file, PEER)), { ...file })));
    for (const text of ["", "# other", "# route: {", '# route: {"route":{"to":"moon"},"addresses":[]}'])
      assert.equal(parseRoute(text), undefined, text);
  });

  it("names every address, and an upstream that answers at once where there is none", () => {
    const to = (addresses: string[]): string =>
      printRoute({ epoch: 1, route: { to: "remote", region: "beijing", host: hostOf("beijing") }, addresses }, PEER);
    const servers = (text: string) => text.match(/^ +server .*;$/gm)!.map((line) => line.trim());
    assert.deepEqual(servers(to(["10.0.0.1", "2001:db8::1"])), [
      "server 10.0.0.1:8444 max_fails=2 fail_timeout=5s;",
      "server [2001:db8::1]:8444 max_fails=2 fail_timeout=5s;",
    ]);
    assert.deepEqual(servers(to([])), ["server 127.0.0.1:8444 down;"]);
    assert.throws(() => to(["10.0.0.1; evil"]), RangeError);
    assert.throws(() => to(["fe80::1%eth0"]), RangeError);
    assert.throws(() => to(["api.example.com"]), RangeError);
    assert.doesNotMatch(printRoute({ ...UNKNOWN_ROUTE, addresses: [] }, PEER), /upstream|map/);
  });

  it("is written anew for another way, and not for another epoch", () => {
    fc.assert(
      fc.property(routeFile, routeFile, (one, other) => {
        assert.ok(isSameWay(one, { ...one, epoch: (one.epoch ?? 0) + 1 }));
        const text = ({ route, addresses }: RouteFile) => printRoute({ epoch: 0, route, addresses }, PEER);
        // Of two local routes the addresses mean nothing.
        if (one.route.to === "remote" || other.route.to === "remote")
          assert.equal(isSameWay(one, other), text(one) === text(other));
        else assert.ok(isSameWay(one, other));
      }),
    );
  });
});

describe("addresses of another region's edge", () => {
  const time = { sinceChangeMillis: 10_000, holdMillis: 30_000 };

  it("are the first that are found, and change at most once in the hold time", () => {
    assert.deepEqual(nextAddresses([], ["10.0.0.2", "10.0.0.1", "10.0.0.2"], time), ["10.0.0.1", "10.0.0.2"]);
    assert.deepEqual(nextAddresses(["10.0.0.1"], ["10.0.0.2"], time), ["10.0.0.1"]);
    assert.deepEqual(nextAddresses(["10.0.0.1"], ["10.0.0.2"], { ...time, sinceChangeMillis: 30_000 }), ["10.0.0.2"]);
  });

  it("stay where the name does not resolve or says the same in another order", () => {
    const current = ["10.0.0.1", "10.0.0.2"];
    for (const resolved of [undefined, [], ["10.0.0.2", "10.0.0.1"]])
      assert.equal(nextAddresses(current, resolved, { sinceChangeMillis: Infinity, holdMillis: 0 }), current);
  });
});
