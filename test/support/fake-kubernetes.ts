import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

interface Stored {
  kind: string;
  metadata: {
    name: string;
    resourceVersion: string;
    namespace?: string;
    uid?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [field: string]: unknown;
}

interface Watcher {
  readonly path: string;
  readonly labels: Record<string, string>;
  readonly response: ServerResponse;
}

const KINDS: Record<string, string> = { endpoints: "Endpoints", pods: "Pod", services: "Service" };

/** The Kubernetes API as far as Patroni keeps its state in it: endpoints and pods of namespaces, with lists by label,
 *  watches, strategic merge patches, and conflicts on an old resourceVersion. No authentication. */
export class FakeKubernetes {
  readonly #server: Server;
  /** By `<namespace>/<resource>`, then by name. */
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #watchers = new Set<Watcher>();
  #version = 1;
  /** Namespace in which no cluster's configuration can be written: its Patroni stands before its registration. */
  unregistered: string | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `tls`: folder with tls.crt and tls.key, good for localhost. */
  static async start(tls: string): Promise<FakeKubernetes> {
    const read = (name: string) => readFileSync(join(tls, name));
    const server = createServer({ cert: read("tls.crt"), key: read("tls.key") });
    const fake = new FakeKubernetes(server);
    server.on("request", (request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => fake.#answer(request, body, response));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return fake;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** Makes a pod, as the StatefulSet's controller does. */
  addPod(namespace: string, name: string, labels: Record<string, string>): void {
    this.#put(`${namespace}/pods`, {
      kind: "Pod",
      metadata: { name, resourceVersion: "", labels, namespace, uid: `${namespace}-${name}` },
      spec: { hostname: name, nodeName: "node" },
    });
  }

  /** Annotations of an object; empty when it is not there. */
  annotations(namespace: string, resource: string, name: string): Record<string, string> {
    return this.#objects.get(`${namespace}/${resource}`)?.get(name)?.metadata.annotations ?? {};
  }

  #put(path: string, object: Stored): Stored {
    const all = this.#objects.get(path) ?? new Map<string, Stored>();
    this.#objects.set(path, all);
    const type = all.has(object.metadata.name) ? "MODIFIED" : "ADDED";
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    all.set(object.metadata.name, stored);
    for (const { path: watched, labels, response } of this.#watchers) {
      if (watched === path && matches(stored, labels)) response.write(`${JSON.stringify({ type, object: stored })}\n`);
    }
    return stored;
  }

  #answer(request: IncomingMessage, text: string, response: ServerResponse): void {
    const url = new URL(request.url!, "https://localhost");
    const [, namespace, resource, name] = /^\/api\/v1\/namespaces\/([^/]+)\/([^/]+)(?:\/([^/]+))?$/.exec(
      url.pathname,
    ) ?? ["", "", "", undefined];
    const path = `${namespace}/${resource}`;
    const body = text === "" ? undefined : (JSON.parse(text) as Stored);
    const send = (status: number, object: unknown) =>
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(object));
    const kind = KINDS[resource];
    if (kind === undefined) return void send(404, { code: 404 });
    if (namespace === this.unregistered && body?.metadata.annotations?.["config"] !== undefined)
      return void send(503, { code: 503 });
    if (request.method === "GET" && name === undefined) {
      const labels = Object.fromEntries(
        (url.searchParams.get("labelSelector") ?? "")
          .split(",")
          .filter(Boolean)
          .map((pair) => pair.split("=") as [string, string]),
      );
      const found = [...(this.#objects.get(path)?.values() ?? [])].filter((object) => matches(object, labels));
      if (!/^true$/i.test(url.searchParams.get("watch") ?? ""))
        return void send(200, {
          kind: `${kind}List`,
          metadata: { resourceVersion: String(this.#version) },
          items: found,
        });
      response.writeHead(200, { "Content-Type": "application/json" });
      response.flushHeaders();
      const since = Number(url.searchParams.get("resourceVersion") ?? 0);
      for (const object of found.filter(({ metadata }) => Number(metadata.resourceVersion) > since))
        response.write(`${JSON.stringify({ type: "MODIFIED", object })}\n`);
      const watcher = { path, labels, response };
      this.#watchers.add(watcher);
      response.on("close", () => this.#watchers.delete(watcher));
      return;
    }
    if (request.method === "POST") {
      if (this.#objects.get(path)?.has(body!.metadata.name)) return void send(409, { code: 409 });
      return void send(201, this.#put(path, { ...body!, kind }));
    }
    const old = this.#objects.get(path)?.get(name!);
    if (old === undefined) return void send(404, { code: 404 });
    if (request.method === "GET") return void send(200, old);
    const given = body?.metadata.resourceVersion;
    if (given !== undefined && given !== old.metadata.resourceVersion) return void send(409, { code: 409 });
    if (request.method === "PUT") return void send(200, this.#put(path, { ...body!, kind }));
    if (request.method === "PATCH") return void send(200, this.#put(path, merged(old, body!) as Stored));
    send(405, { code: 405 });
  }
}

function matches({ metadata }: Stored, labels: Record<string, string>): boolean {
  return Object.entries(labels).every(([key, value]) => metadata.labels?.[key] === value);
}

function merged(old: unknown, patch: unknown): unknown {
  if (!isRecord(old) || !isRecord(patch)) return patch;
  const result = { ...old };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key] ?? (isRecord(value) ? {} : undefined), value);
  }
  return result;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
