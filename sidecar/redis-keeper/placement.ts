import { readFile } from "node:fs/promises";
import { request } from "node:https";

/** Tells on which machine each pod runs, by the pod's name. */
export type Placement = (signal: AbortSignal) => Promise<ReadonlyMap<string, string>>;

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Placement from the API server of the cluster the keeper runs in, with its service account, which needs `list` on pods.
 *  One plain request: a client library would be most of the keeper's memory.
 *  @throws (when called) when the API server cannot be reached in time, or refuses */
export function kubernetesPlacement(namespace: string, labelSelector: string, timeoutMillis: number): Placement {
  const host = process.env["KUBERNETES_SERVICE_HOST"];
  const port = process.env["KUBERNETES_SERVICE_PORT_HTTPS"] ?? process.env["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (!host) throw new Error("KUBERNETES_SERVICE_HOST is not set: placement from Kubernetes needs a pod to run in");
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods?labelSelector=${encodeURIComponent(labelSelector)}`;
  return async (signal) => {
    const [ca, token] = await Promise.all([readFile(`${ACCOUNT}/ca.crt`), readFile(`${ACCOUNT}/token`, "utf8")]);
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMillis)]);
    const body = await get({
      host,
      port,
      path,
      ca,
      headers: { authorization: `Bearer ${token.trim()}` },
      signal: deadline,
    });
    return machinesOf(JSON.parse(body));
  };
}

/** Machines of the pods of a list, as the API server answers it. Pods not yet scheduled have none.
 *  @throws TypeError for anything that is not a list of pods */
export function machinesOf(list: unknown): Map<string, string> {
  const { items } = list as { items?: { metadata?: { name?: string }; spec?: { nodeName?: string } }[] };
  if (!Array.isArray(items)) throw new TypeError("the API server's answer is not a list of pods");
  const result = new Map<string, string>();
  for (const { metadata, spec } of items) {
    if (metadata?.name && spec?.nodeName) result.set(metadata.name, spec.nodeName);
  }
  return result;
}

interface Get {
  readonly host: string;
  readonly port: string;
  readonly path: string;
  readonly ca: Buffer;
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
}

function get(options: Get): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, method: "GET", agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString("utf8"));
        else reject(new Error(`the API server answered ${response.statusCode} to the list of pods`));
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}
