import { z } from "zod";
import { COMPONENTS } from "../../../components/common/names.ts";
import { haproxyIn, linesOf, optionOf, type ProxySection } from "../../facts/haproxy.ts";
import { hbaFault, hbaLines } from "../../facts/hba.ts";
import { shaped, yamlAs } from "../../facts/parsed.ts";
import { poolerIn, type PoolerConfig } from "../../facts/pooler.ts";
import { isOn, patroniIn, show, type PatroniConfig } from "../../facts/postgres.ts";
import { CannotJudge, fileIn } from "../../facts/stack.ts";
import { resourceRule } from "../../rule.ts";

type Say = (message: string) => void;

/** What PgBouncer may take for TLS, newest word for it first. */
const PROTOCOLS = ["secure", "tlsv1.3", "tlsv1.2", "tlsv1.2,tlsv1.3", "tlsv1.3,tlsv1.2"];

export const databaseTls = resourceRule({
  name: "database-tls",
  description:
    "Every connection to the database and to Patroni is encrypted with TLS 1.2 or newer, every server is known by its certificate, and everybody who comes proves who it is.",
  severity: "critical",
  why: "Between regions the stream of the database crosses networks of others, and within one a node is enough to listen. A client that does not verify its server gives its password to whoever answers.",
  remediation:
    "PostgreSQL: ssl on, ssl_min_protocol_version TLSv1.2 or TLSv1.3, hostssl lines with scram-sha-256 or cert. PgBouncer: client_tls_sslmode require, server_tls_sslmode verify-full, auth_type hba. HAProxy: check-ssl verify required with ca-file and verifyhost.",
  check({ resource, report }) {
    const patroni = patroniIn(resource);
    if (patroni) {
      checkPostgres(patroni, report);
      const text = fileIn(resource, COMPONENTS.postgres, "10-patroni.yml")!;
      checkPatroni(yamlAs(interfaces, text, 'data["10-patroni.yml"]'), report);
    }
    const pooler = poolerIn(resource);
    if (pooler) checkPooler(pooler, report);
    const proxy = haproxyIn(resource);
    if (proxy) checkProxy(proxy, report);
  },
});

function checkPostgres({ parameters, postgresql }: PatroniConfig, say: Say): void {
  if (!isOn(parameters, "ssl")) say(`${parameters.where}.ssl: found ${show(parameters.values["ssl"])}; it must be on`);
  const protocol = parameters.values["ssl_min_protocol_version"];
  if (protocol !== "TLSv1.2" && protocol !== "TLSv1.3")
    say(`${parameters.where}.ssl_min_protocol_version: found ${show(protocol)}; it must be TLSv1.2 or TLSv1.3`);
  if (parameters.values["hba_file"] !== undefined)
    say(`${parameters.where}.hba_file: found ${show(parameters.values["hba_file"])}; rules stand in postgresql.pg_hba`);
  const lines = shaped(z.array(z.string()).min(1), postgresql.values["pg_hba"], `${postgresql.where}.pg_hba`);
  hbaLines(lines).forEach((line, i) => {
    const fault = hbaFault(line);
    if (fault) say(`postgresql.pg_hba[${i}]: found ${line.text}; ${fault}`);
  });
}

const file = z.string().min(1).optional();
const interfaces = z.looseObject({
  restapi: z.looseObject({ certfile: file, keyfile: file }).default({}),
  ctl: z.looseObject({ cacert: file, insecure: z.unknown().optional() }).default({}),
});

/** Patroni's own interface, by which a database is stopped and promoted. */
function checkPatroni({ restapi, ctl }: z.infer<typeof interfaces>, say: Say): void {
  for (const key of ["certfile", "keyfile"] as const)
    if (restapi[key] === undefined) say(`data["10-patroni.yml"] restapi.${key}: found nothing; it is needed`);
  if (ctl.cacert === undefined)
    say('data["10-patroni.yml"] ctl.cacert: found nothing; members must know each other by it');
  if (ctl.insecure !== undefined && ctl.insecure !== false)
    say(`data["10-patroni.yml"] ctl.insecure: found ${show(ctl.insecure)}; members must be verified`);
}

function checkPooler({ resource, settings }: PoolerConfig, say: Say): void {
  const where = 'data["pgbouncer.ini"] [pgbouncer]';
  const hold = (key: string, allowed: readonly string[]) => {
    const found = settings[key];
    if (!allowed.includes(found?.replaceAll(" ", "") ?? ""))
      say(`${where} ${key}: found ${found ?? "nothing"}; it must be ${allowed.join(" or ")}`);
  };
  hold("client_tls_sslmode", ["require", "verify-ca", "verify-full"]);
  hold("server_tls_sslmode", ["verify-full"]);
  hold("client_tls_protocols", PROTOCOLS);
  hold("server_tls_protocols", PROTOCOLS);
  hold("auth_type", ["hba", "scram-sha-256", "cert"]);
  if (settings["auth_type"] !== "hba") return;
  const hba = fileIn(resource, COMPONENTS.pooler, "hba.conf");
  if (hba === undefined) throw new CannotJudge('data: auth_type is hba and there is no "hba.conf"');
  for (const line of hbaLines(hba.split("\n"))) {
    const fault = hbaFault(line);
    if (fault) say(`data["hba.conf"]: found ${line.text}; ${fault}`);
  }
}

function checkProxy(sections: readonly ProxySection[], say: Say): void {
  const where = (section: ProxySection) => `data["haproxy.cfg"] ${section.kind} ${section.name}`.trimEnd();
  const defaults = sections.filter(({ kind }) => kind === "defaults").flatMap((one) => linesOf(one, "default-server"));
  const minimum = sections
    .filter(({ kind }) => kind === "global")
    .flatMap((one) => linesOf(one, "ssl-default-server-options"))
    .map((words) => optionOf(words, "ssl-min-ver"))
    .at(-1);
  if (minimum !== "TLSv1.2" && minimum !== "TLSv1.3")
    say(
      `data["haproxy.cfg"] global ssl-default-server-options: found ssl-min-ver ${minimum ?? "not set"}; it must be TLSv1.2 or TLSv1.3`,
    );
  for (const section of sections) {
    const own = linesOf(section, "default-server");
    for (const server of linesOf(section, "server")) {
      const words = [...defaults, ...own, server].flat();
      const fault = checkFault(words);
      if (fault)
        say(
          `${where(section)} server ${server[0]}: found ${fault}; it must be check-ssl verify required with ca-file and verifyhost`,
        );
    }
    // What PgBouncer sends here is encrypted by itself; a door to the network would be one for everybody.
    if (section.kind !== "frontend" || linesOf(section, "mode").some(([mode]) => mode === "http")) continue;
    for (const [address = ""] of linesOf(section, "bind"))
      if (!/^(127\.|\[?::1\]?:|localhost:)/.test(address))
        say(`${where(section)} bind: found ${address}; only the pod's own loopback is allowed`);
  }
}

/** Why the answers to a server's checks, which say who leads, cannot be trusted. */
function checkFault(words: readonly string[]): string | undefined {
  if (!words.includes("check") || words.includes("no-check")) return "no check";
  if (!words.includes("check-ssl") || words.includes("no-check-ssl")) return "a check without TLS";
  if (optionOf(words, "verify") !== "required") return `verify ${optionOf(words, "verify") ?? "not set"}`;
  if (optionOf(words, "ca-file") === undefined) return "no ca-file";
  return optionOf(words, "verifyhost") === undefined ? "no verifyhost" : undefined;
}
