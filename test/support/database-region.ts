import { spawn, type ChildProcess } from "node:child_process";
import { chmod, chown, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { join } from "node:path";
import { podHost, postgresSetName, SERVICES } from "../../components/common/names.ts";
import {
  configFiles,
  CONFIG_FILES,
  credentialsConfig,
  PATHS,
  patroniLabels,
  reconcilerConfig,
  SCOPE,
  SCOPE_LABEL,
} from "../../components/postgres/patroni.ts";
import { scriptFiles } from "../../components/postgres/scripts.ts";
import { postgresSettings, type PostgresSettings } from "../../components/postgres/settings.ts";
import type { BirthAnswer } from "../../sidecar/core/region-status.ts";
import { issueCertificate } from "./certificates.ts";
import { regionContext } from "./context.ts";
import type { FakeKubernetes } from "./fake-kubernetes.ts";
import { IMAGE_UID, runInImage } from "./image-root.ts";
import { PASSWORDS } from "./reconciler.ts";

const BIN = "/usr/lib/postgresql/17/bin";
const PATH = `${BIN}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
/** A test run that is killed leaves no pod behind. */
const WITH_PARENT = ["--pdeathsig", "KILL"];
const SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount";

export interface DatabaseRegionOptions {
  /** Unpacked postgres image. */
  readonly root: string;
  /** Folder of the test; the region makes its own in it. `<folder>/ca` is the authority, `<folder>/hosts` is /etc/hosts. */
  readonly folder: string;
  readonly kubernetes: FakeKubernetes;
  readonly region: string;
  readonly peers: readonly string[];
  /** Loopback addresses, one a pod. */
  readonly addresses: readonly string[];
  /** Port of PostgreSQL, and of Patroni, on each of them. */
  readonly ports: { readonly postgres: number; readonly patroni: number };
}

/** The database of one region as its pods run it: start.py, Patroni, PostgreSQL and the reconciler, from the project's
 *  image and configuration, with a region controller that says what the test says. A pod is a PID and mount namespace;
 *  its container comes again when it ends, as under the kubelet. */
export class DatabaseRegion {
  readonly options: DatabaseRegionOptions;
  readonly folder: string;
  readonly settings: PostgresSettings;
  /** What the region controller answers; a function may fail. */
  birth: BirthAnswer = { as: "wait", cause: "the test has not decided" };
  /** Common name of each client that asked. */
  readonly asked: string[] = [];
  readonly #logs = new Map<number, string>();
  readonly #pods = new Map<number, ChildProcess[]>();
  #controller: Server | undefined;

  constructor(options: DatabaseRegionOptions) {
    this.options = options;
    this.folder = join(options.folder, options.region);
    this.settings = postgresSettings.parse({
      replicas: options.addresses.length,
      synchronous: { mode: "off" },
      clientNetworks: ["127.0.0.0/8"],
      parameters: {
        shared_buffers: "16MB",
        max_wal_size: "64MB",
        min_wal_size: "32MB",
        wal_keep_size: "16MB",
        max_slot_wal_keep_size: "32MB",
        max_connections: 40,
      },
      extraParameters: { fsync: "off", dynamic_shared_memory_type: "mmap" },
    });
  }

  host(pod: number): string {
    const { region } = this.options;
    return podHost(postgresSetName(region), pod, SERVICES.postgresNodes, "iam", `cluster.${region}`);
  }

  /** Lines of /etc/hosts for the pods. */
  get hosts(): string[] {
    return this.options.addresses.map((address, i) => `${address} ${this.host(i)}`);
  }

  /** Makes the files of the pods, and starts the region controller. */
  async prepare(): Promise<void> {
    const { folder, settings } = this;
    const { region, peers, kubernetes, addresses, ports } = this.options;
    const context = regionContext({ region, clusterDomain: `cluster.${region}` });
    for (const part of ["", "tls", "controller", "scripts", "account"]) await mkdir(join(folder, part));
    const authority = join(this.options.folder, "ca");
    const names = ["localhost", `postgresql-${region}.iam.example.com`, ...addresses.map((_, i) => this.host(i))];
    await issueCertificate(authority, join(folder, "tls"), names);
    await issueCertificate(authority, join(folder, "controller"), ["localhost"]);
    await chown(join(folder, "tls/tls.key"), IMAGE_UID, IMAGE_UID);
    for (const [name, text] of Object.entries(scriptFiles(settings))) await this.#write(`scripts/${name}`, text);
    const fast = { ...reconcilerConfig(settings), interval_seconds: 1, rebuild_after_seconds: 3 };
    await this.#write("scripts/reconciler.json", JSON.stringify(fast));
    await this.#write("account/token", "token");
    await this.#write("account/namespace", region);
    await this.#write("account/ca.crt", await readFile(join(authority, "ca.crt"), "utf8"));
    for (const [i, address] of addresses.entries()) {
      const set = postgresSetName(region);
      kubernetes.addPod(region, `${set}-${i}`, { ...patroniLabels(context), [SCOPE_LABEL]: SCOPE });
      for (const part of ["", "config", "volume", "sockets", "patroni", "reconciler"])
        await mkdir(join(folder, `pod-${i}`, part), { mode: 0o755 });
      for (const part of ["volume", "sockets", "patroni", "reconciler"])
        await chown(join(folder, `pod-${i}`, part), IMAGE_UID, IMAGE_UID);
      for (const [name, text] of Object.entries(configFiles(context, settings, peers)))
        await this.#write(`pod-${i}/config/${name}`, text);
      await this.#write(`pod-${i}/config/${CONFIG_FILES.credentials}`, JSON.stringify(credentialsConfig(PASSWORDS)));
      // Pods share the machine's network here: each has an address on the loopback interface.
      const listen = {
        restapi: { listen: `${address}:${ports.patroni}` },
        postgresql: { listen: `${address}:${ports.postgres}` },
      };
      await this.#write(`pod-${i}/config/35-test.yml`, JSON.stringify(listen));
    }
    await this.#startController();
  }

  async #startController(): Promise<void> {
    const read = (name: string) => readFile(join(this.folder, "controller", name));
    const [cert, key, ca] = await Promise.all([read("tls.crt"), read("tls.key"), read("ca.crt")]);
    const server = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true }, (request, response) => {
      this.asked.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
      if (request.url !== "/birth") return void response.writeHead(404).end();
      response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(this.birth));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#controller = server;
  }

  /** Starts a pod with its reconciler: its volume is as it was. */
  startPod(pod: number): void {
    const { ports, kubernetes, region } = this.options;
    const name = `${postgresSetName(region)}-${pod}`;
    const env = {
      PATH,
      HOME: PATHS.patroniRun,
      LANG: "C.UTF-8",
      PYTHONDONTWRITEBYTECODE: "1",
      PYTHONUNBUFFERED: "1",
      IAM_HA_PATRONI_URL: `https://${this.host(pod)}:${ports.patroni}`,
      IAM_HA_PORT: String(ports.postgres),
    };
    const database = this.#container(
      pod,
      `/usr/bin/tini -- /usr/bin/python3 ${PATHS.scripts}/start.py postgres-entrypoint ${PATHS.patroniConfig}`,
      {
        ...env,
        KUBERNETES_SERVICE_HOST: "localhost",
        KUBERNETES_SERVICE_PORT: String(kubernetes.port),
        IAM_HA_REGION_CONTROLLER: `https://localhost:${(this.#controller!.address() as AddressInfo).port}`,
        PATRONI_NAME: name,
        PATRONI_KUBERNETES_NAMESPACE: region,
        PATRONI_KUBERNETES_POD_IP: this.options.addresses[pod]!,
        PATRONI_POSTGRESQL_CONNECT_ADDRESS: `${this.host(pod)}:${ports.postgres}`,
        PATRONI_RESTAPI_CONNECT_ADDRESS: `${this.host(pod)}:${ports.patroni}`,
        PGHOST: PATHS.sockets,
      },
    );
    const reconciler = this.#container(pod, `/usr/bin/tini -- /usr/bin/python3 ${PATHS.scripts}/reconciler.py`, env);
    this.#pods.set(pod, [database, reconciler]);
  }

  /** A container that comes again a second after its end. */
  #container(pod: number, command: string, env: Record<string, string>): ChildProcess {
    const { root, folder } = this.options;
    const at = (part: string) => join(this.folder, `pod-${pod}`, part);
    const mounts: Record<string, string> = {
      "/dev": "/dev",
      "/etc/hosts": join(folder, "hosts"),
      [PATHS.config]: at("config"),
      [PATHS.scripts]: join(this.folder, "scripts"),
      [PATHS.tls]: join(this.folder, "tls"),
      [PATHS.volume]: at("volume"),
      [PATHS.sockets]: at("sockets"),
      [PATHS.patroniRun]: at("patroni"),
      [PATHS.reconcilerRun]: at("reconciler"),
      [SERVICE_ACCOUNT]: join(this.folder, "account"),
    };
    const script = [
      "set -e",
      ...Object.entries(mounts).map(
        ([inside, outside]) =>
          `if [ -d '${outside}' ]; then mkdir -p '${root}${inside}'; else touch '${root}${inside}'; fi; mount --rbind '${outside}' '${root}${inside}'`,
      ),
      `mount -t proc proc '${root}/proc'`,
      "set +e",
      `while :; do chroot --userspec=${IMAGE_UID}:${IMAGE_UID} '${root}' ${command}; echo "container ended with $?"; sleep 1; done`,
    ].join("\n");
    const child = spawn(
      "setpriv",
      [...WITH_PARENT, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
      {
        env,
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#logs.set(pod, (this.#logs.get(pod) ?? "") + chunk.toString());
        if (process.env["SHOW_ENGINES"]) process.stderr.write(`${this.options.region}-${pod} ${chunk.toString()}`);
      });
    }
    return child;
  }

  /** What the pod has logged, over all its starts. */
  log(pod: number): string {
    return this.#logs.get(pod) ?? "";
  }

  /** The pod dies without a word. */
  async killPod(pod: number): Promise<void> {
    const processes = this.#pods.get(pod) ?? [];
    this.#pods.delete(pod);
    await Promise.all(
      processes.map(async (child) => {
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await ended;
      }),
    );
  }

  /** SQL as the superuser, through the pod's own socket. */
  async psql(pod: number, sql: string, database = "postgres"): Promise<string> {
    const argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", String(this.options.ports.postgres), "-d", database];
    const mounts = { [PATHS.sockets]: join(this.folder, `pod-${pod}`, "sockets") };
    const env = { PATH, PGHOST: PATHS.sockets, PGUSER: "postgres", PGCONNECT_TIMEOUT: "5" };
    return (await runInImage(this.options.root, [...argv, "-c", sql], { mounts, env })).trim();
  }

  /** Ordinal of the pod that leads; undefined while there is none. */
  get leader(): number | undefined {
    const { kubernetes, region } = this.options;
    const name = kubernetes.annotations(region, "endpoints", SCOPE)["leader"];
    return name === undefined ? undefined : Number(name.split("-").at(-1));
  }

  /** The dynamic configuration as Patroni keeps it. */
  get dynamic(): Record<string, unknown> {
    const { kubernetes, region } = this.options;
    return JSON.parse(kubernetes.annotations(region, "endpoints", `${SCOPE}-config`)["config"] ?? "{}") as Record<
      string,
      unknown
    >;
  }

  async stop(): Promise<void> {
    for (const pod of [...this.#pods.keys()]) await this.killPod(pod);
    this.#controller?.closeAllConnections();
    this.#controller?.close();
  }

  async #write(path: string, text: string): Promise<void> {
    await writeFile(join(this.folder, path), text);
    await chmod(join(this.folder, path), 0o644);
  }
}
