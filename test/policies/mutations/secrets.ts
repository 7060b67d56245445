import type { Mutation } from "../mutation.ts";
import type { ChangedStack } from "../stack.ts";

// Put together here, so that no scanner of this project's files takes them for real ones.
const KEY = `-----BEGIN ${"PRIVATE"} KEY-----\nMC4CAQ==\n-----END ${"PRIVATE"} KEY-----\n`;
const AWS = `AKIA${"IOSFODNN7EXAMPLE"}`;
const GITHUB = `ghp_${"a1B2".repeat(9)}`;
const SLACK = `xoxb-${"1234567890-abcdef"}`;
const JWT = `eyJ${"hbGciOiJIUzI1NiJ9"}.eyJ${"zdWIiOiIxMjM0NTY3ODkwIn0"}.${"c2lnbmF0dXJlLW9mLWl0"}`;

/** A value that one of the stack's Secrets keeps. */
const kept = (stack: ChangedStack) =>
  (stack.object("Secret", "redis-users")["stringData"] as { keeper: string }).keeper;
/** The container of the region controller. */
const container = (stack: ChangedStack) =>
  (
    stack.object("Deployment", "region-controller")["spec"] as {
      template: {
        spec: { containers: { env: { name: string; value: string }[]; args: string[]; command?: string[] }[] };
      };
    }
  ).template.spec.containers[0]!;
const variable = (name: string, value: string) => (stack: ChangedStack) =>
  void container(stack).env.push({ name, value });
const annotation = (name: string, value: string | ((stack: ChangedStack) => string)) => (stack: ChangedStack) => {
  const metadata = stack.object("Service", "edge")["metadata"] as { annotations: Record<string, string> };
  metadata.annotations[name] = typeof value === "string" ? value : value(stack);
};
/** Adds a file to a ConfigMap. */
const file = (map: string, name: string, text: string | ((stack: ChangedStack) => string)) => (stack: ChangedStack) => {
  const data = stack.object("ConfigMap", map)["data"] as Record<string, string>;
  data[name] = typeof text === "string" ? text : text(stack);
};
const line = (map: string, name: string, text: string) => (stack: ChangedStack) =>
  stack.file(map, name, (before) => `${before.trimEnd()}\n${text}\n`);

const list: readonly (readonly [string, RegExp, Mutation["change"]])[] = [
  [
    "a password in a variable",
    /containers\[0\]\.env\[1\]\.value: found a value of DATABASE_PASSWORD in plain/,
    variable("DATABASE_PASSWORD", "correct-horse"),
  ],
  [
    "an API key in a variable",
    /env\[1\]\.value: found a value of ApiKey in plain/,
    variable("ApiKey", "correct-horse"),
  ],
  [
    "a password in a camel's variable",
    /env\[1\]\.value: found a value of redisPassword in plain/,
    variable("redisPassword", "correct-horse"),
  ],
  [
    "a password as an argument",
    /args\[4\]: found a value of password in plain/,
    (stack) => void container(stack).args.push("--password=correct-horse"),
  ],
  [
    "a password after an argument",
    /args\[5\]: found a value of auth-token in plain/,
    (stack) => void container(stack).args.push("--auth-token", "correct-horse"),
  ],
  [
    "a password in the command",
    /command\[1\]: found a value of secret in plain/,
    (stack) => void (container(stack).command = ["node", "--secret=correct-horse"]),
  ],
  [
    "a password in an annotation",
    /metadata\.annotations\["example\.com\/token"\]: found a value of example\.com\/token/,
    annotation("example.com/token", "correct-horse"),
  ],
  ["a private key", /data\["tls\.key"\]: found a private key in plain/, file("edge", "tls.key", KEY)],
  [
    "credentials in a URL",
    /annotations.*: found a URL with a password in plain/,
    annotation("example.com/source", "postgresql://iam:correct-horse@db.example.com/iam"),
  ],
  [
    "credentials in a variable's URL",
    /env\[1\]\.value: found a URL with a password/,
    variable("DATABASE_URL", "postgresql://iam:correct-horse@db.example.com/iam"),
  ],
  ["a key of a cloud", /env\[1\]\.value: found an access key of AWS/, variable("BACKUP", AWS)],
  ["a token of a forge", /env\[1\]\.value: found a token of GitHub/, variable("FORGE", GITHUB)],
  ["a token of a chat", /env\[1\]\.value: found a token of Slack/, variable("CHAT", SLACK)],
  ["a signed token", /env\[1\]\.value: found a JSON web token/, variable("SESSION", JWT)],
  [
    "a password in JSON",
    /region\.json"\] postgres\.password: found a value of postgres\.password/,
    (stack) =>
      stack.json(
        "region-controller",
        "region.json",
        (value: { postgres: { password?: string } }) => (value.postgres.password = "correct-horse"),
      ),
  ],
  [
    "a password in YAML",
    /extra\.yml"\] restapi\.password: found a value of/,
    file("postgresql-patroni", "extra.yml", "restapi:\n  password: correct-horse\n"),
  ],
  [
    "a password of a database's line",
    /pgbouncer\.ini"\] password: found a value of password/,
    (stack) =>
      stack.file("pgbouncer-config", "pgbouncer.ini", (text) =>
        text.replace("user=iam_app ", "user=iam_app password=correct-horse "),
      ),
  ],
  [
    "a password of Redis",
    /redis\.conf"\]: found a password of Redis/,
    line("redis-config", "redis.conf", "requirepass correct-horse"),
  ],
  [
    "a password of an ACL user",
    /users\.acl"\]: found a password of an ACL user/,
    line("redis-config", "users.acl", "user more on >correct-horse +ping"),
  ],
  [
    "a password of HAProxy",
    /haproxy\.cfg"\]: found a password of HAProxy/,
    line("pgbouncer-haproxy", "haproxy.cfg", "  stats auth admin:correct-horse"),
  ],
  [
    "a password of etcd",
    /extra\.conf"\]: found a password of etcd/,
    file("global-dns", "extra.conf", "etcd {\n  credentials dns correct-horse\n}\n"),
  ],
  [
    "a list of PgBouncer's users",
    /userlist\.txt"\]: found a user's password of PgBouncer/,
    file("pgbouncer-config", "userlist.txt", '"iam_app" "correct-horse"\n'),
  ],
  [
    "a file that is a password",
    /data\["password"\]: found a value of password/,
    file("redis-config", "password", "correct-horse"),
  ],
  [
    "a Secret's value in a file",
    /data\.note: found the value of Secret\/redis-users keeper in plain/,
    file("redis-config", "note", (stack) => `remember ${kept(stack)}\n`),
  ],
  [
    "a Secret's value in base64",
    /annotations\["example\.com\/note"\]: found the value of Secret\/redis-users keeper/,
    annotation("example.com/note", (stack) => Buffer.from(kept(stack)).toString("base64")),
  ],
  [
    "a Secret's value as an argument",
    /args\[4\]: found the value of Secret\/redis-users keeper/,
    (stack) => void container(stack).args.push(kept(stack)),
  ],
  [
    "a private key in a binary file",
    /binaryData\.store: found a private key in plain/,
    (stack) => {
      stack.object("ConfigMap", "edge")["binaryData"] = { store: Buffer.from(`..${KEY}`).toString("base64") };
    },
  ],
];

export const secretMutations: readonly Mutation[] = list.map(([breaks, says, change]) => ({
  rule: "plain-secrets",
  breaks,
  says,
  change,
}));
