import assert from "node:assert/strict";
import { Refused, type Cluster } from "../../../scripts/preview/cluster.ts";
import { againstCluster, MADE_ELSEWHERE, overlay } from "../../../scripts/preview/live.ts";
import { keyOf } from "../../../scripts/preview/objects.ts";
import { compare } from "../../../scripts/preview/preview.ts";
import { KnownSecrets } from "../../../scripts/preview/secrets.ts";
import type { KubernetesObject } from "../../../scripts/render/objects.ts";

type Change = (object: KubernetesObject) => void;
const made = (apiVersion: string, kind: string, name: string, rest: object = {}): KubernetesObject => ({
  apiVersion,
  kind,
  metadata: { name, ...(kind === "Namespace" ? {} : { namespace: "iam" }) },
  ...rest,
});

/** An API server in short: fills in a default, adds what it keeps, refuses a change of a set's serviceName. */
class FakeCluster implements Cluster {
  readonly objects = new Map<string, KubernetesObject>();
  readonly asked: string[] = [];
  refuse: (object: KubernetesObject) => string | undefined = () => undefined;

  constructor(objects: readonly KubernetesObject[]) {
    for (const object of objects) this.objects.set(keyOf(object), this.defaulted(object));
  }

  edit(object: KubernetesObject, change: Change): void {
    change(this.objects.get(keyOf(object))!);
  }

  current(objects: readonly KubernetesObject[]): Promise<KubernetesObject[]> {
    return Promise.resolve(objects.flatMap((object) => this.objects.get(keyOf(object)) ?? []));
  }

  applied(objects: readonly KubernetesObject[]): Promise<KubernetesObject[]> {
    this.asked.push(objects.map(({ metadata }) => metadata.name).join(","));
    for (const object of objects) {
      const why = this.refuse(object);
      if (why !== undefined) return Promise.reject(new Refused(why));
    }
    return Promise.resolve(objects.map((object) => this.defaulted(object)));
  }

  labelled(kinds: readonly string[], _namespace: string, selector: string): Promise<KubernetesObject[]> {
    const [key, value] = selector.split(",")[0]!.split("=") as [string, string];
    return Promise.resolve(
      [...this.objects.values()].filter(
        ({ kind, metadata }) => kinds.some((name) => name.split(".")[0] === kind) && metadata.labels?.[key] === value,
      ),
    );
  }

  private defaulted(object: KubernetesObject): KubernetesObject {
    const { stringData, ...rest } = structuredClone(object);
    const data = Object.fromEntries(
      Object.entries(stringData ?? {}).map(([key, value]) => [key, Buffer.from(String(value)).toString("base64")]),
    );
    return {
      ...rest,
      metadata: {
        ...rest.metadata,
        uid: "1",
        resourceVersion: String(this.asked.length),
      } as KubernetesObject["metadata"],
      ...(object.kind === "Secret" ? { data: { ...data, ...(object["data"] as object | undefined) } } : {}),
      ...(object["spec"] ? { spec: { revisionHistoryLimit: 10, ...object["spec"] } } : {}),
      status: { seen: this.asked.length },
    };
  }
}

const NAMESPACE = made("v1", "Namespace", "iam");
const SET = made("apps/v1", "StatefulSet", "postgresql-beijing", {
  spec: {
    replicas: 4,
    serviceName: "nodes",
    volumeClaimTemplates: [{ metadata: { name: "data" }, spec: {} }],
    template: { spec: { containers: [{ name: "postgres", image: "a" }] } },
  },
});
const CONFIG = made("v1", "ConfigMap", "edge", { data: { "a.conf": "x\n" } });
const SECRET = made("v1", "Secret", "redis-users", {
  stringData: { iam: "the password of iam", keeper: `x ${MADE_ELSEWHERE}` },
});
const RECORD = made("v1", "ConfigMap", "iam-ha-beijing", {});
Object.assign(RECORD.metadata, {
  labels: { "applyset.kubernetes.io/id": "applyset-7" },
  annotations: { "applyset.kubernetes.io/contains-group-kinds": "ConfigMap,StatefulSet.apps" },
});
const member = (object: KubernetesObject): KubernetesObject => ({
  ...object,
  metadata: { ...object.metadata, labels: { "applyset.kubernetes.io/part-of": "applyset-7" } },
});

const ALL = [NAMESPACE, SET, CONFIG, SECRET];
const running = () => {
  const cluster = new FakeCluster([NAMESPACE, RECORD, member(SET), member(CONFIG), member(SECRET)]);
  cluster.edit(
    SECRET,
    (object) =>
      ((object["data"] as Record<string, string>)["keeper"] = Buffer.from("made by the engine").toString("base64")),
  );
  return cluster;
};
const look = async (cluster: Cluster, wanted: readonly KubernetesObject[] = ALL) => {
  const options = {
    against: "cluster x",
    region: "beijing",
    secrets: new KnownSecrets(),
    record: { namespace: "iam", set: "iam-ha-beijing" },
  };
  const comparison = await againstCluster(cluster, wanted, options);
  return compare("beijing", comparison, { unlocked: [], findings: [] });
};
const told = ({ changes }: Awaited<ReturnType<typeof look>>) =>
  changes.map(({ id, action }) => `${action} ${id.kind}/${id.name}`);

describe("preview against a cluster", () => {
  it("finds no change right after an apply: defaults, records and secrets made elsewhere make none", async () => {
    const preview = await look(running());
    assert.deepEqual(told(preview), []);
    assert.deepEqual([preview.refused, preview.notes, preview.unsafe], [[], [], []]);
  });

  it("shows what somebody changed in the cluster as what the next apply takes back", async () => {
    const cluster = running();
    cluster.edit(CONFIG, (object) => ((object["data"] as Record<string, string>)["a.conf"] = "y\n"));
    cluster.objects.delete(keyOf(SET));
    assert.deepEqual(told(await look(cluster)), ["changed ConfigMap/edge", "created StatefulSet/postgresql-beijing"]);
  });

  it("shows objects of the set that are no longer rendered as deleted, and no others", async () => {
    const cluster = running();
    const other = made("v1", "ConfigMap", "kube-root-ca.crt");
    cluster.objects.set(keyOf(other), other);
    const preview = await look(cluster, [NAMESPACE, CONFIG, SECRET]);
    assert.deepEqual(told(preview), ["deleted StatefulSet/postgresql-beijing"]);
    assert.deepEqual(
      preview.unsafe.map(({ unlock, unlocked }) => [unlock, unlocked]),
      [["StatefulSet/postgresql-beijing", false]],
    );
  });

  it("tells a refused change of an immutable field as a replacement", async () => {
    const cluster = running();
    cluster.refuse = ({ kind }) => (kind === "StatefulSet" ? "updates to statefulset spec are forbidden" : undefined);
    const wanted = structuredClone(SET);
    (wanted["spec"] as { serviceName: string }).serviceName = "others";
    const preview = await look(cluster, [NAMESPACE, CONFIG, SECRET, wanted]);
    assert.deepEqual(told(preview), ["changed StatefulSet/postgresql-beijing"]);
    assert.deepEqual(preview.refused, []);
    assert.match(preview.unsafe[0]!.message, /would be replaced, as spec.serviceName cannot be changed/);
  });

  it("finds which object is refused, checks the others, and masks what the refusal quotes", async () => {
    const cluster = running();
    cluster.refuse = ({ kind }) => (kind === "Secret" ? "Secret is invalid: the password of iam" : undefined);
    const wanted = structuredClone(CONFIG);
    (wanted["data"] as Record<string, string>)["a.conf"] = "y\n";
    const preview = await look(cluster, [NAMESPACE, wanted, SECRET, SET]);
    assert.deepEqual(preview.refused, [{ object: "Secret/redis-users", message: "Secret is invalid: (secret)" }]);
    assert.ok(told(preview).includes("changed ConfigMap/edge"));
  });

  it("asks the API server to check nothing of a namespace that is not there, and says so", async () => {
    const cluster = new FakeCluster([]);
    const preview = await look(cluster);
    assert.deepEqual(told(preview).length, 4);
    assert.ok(told(preview).every((line) => line.startsWith("created")));
    assert.deepEqual(cluster.asked, ["iam"]);
    assert.match(preview.notes[0]!, /namespace iam is not there yet/);
  });

  it("fails where the cluster cannot be asked: that is no refusal and no empty answer", async () => {
    const dead = running();
    dead.applied = () => Promise.reject(new Error("kubectl apply failed: Unable to connect to the server"));
    await assert.rejects(look(dead), /Unable to connect/);
    const short = running();
    short.applied = () => Promise.resolve([]);
    await assert.rejects(look(short), /dry run of 4 objects answered with 0/);
    const silent = running();
    silent.current = () => Promise.reject(new Error("timed out"));
    await assert.rejects(look(silent), /timed out/);
  });

  it("takes objects that Pulumi's engine has applied from their labels", async () => {
    const labels = { "app.kubernetes.io/part-of": "iam-ha", "app.kubernetes.io/instance": "beijing" };
    const engine = (object: KubernetesObject) =>
      ({
        ...object,
        metadata: { ...object.metadata, labels, managedFields: [{ manager: "pulumi-kubernetes-1a2b3c" }] },
      }) as KubernetesObject;
    const gone = made("v1", "ConfigMap", "gone");
    const mine = made("v1", "ConfigMap", "made-by-hand");
    const cluster = new FakeCluster([
      NAMESPACE,
      engine(CONFIG),
      engine(gone),
      { ...mine, metadata: { ...mine.metadata, labels } },
    ]);
    const preview = await look(cluster, [NAMESPACE, { ...CONFIG, metadata: { ...CONFIG.metadata, labels } }]);
    assert.deepEqual(told(preview), ["deleted ConfigMap/gone"]);
    assert.match(preview.notes[0]!, /Pulumi's engine has applied/);
  });

  it("lays what is wanted over what is there by the natural keys of lists", () => {
    const now = { spec: { a: 1, containers: [{ name: "x", image: "1", kept: true }, { name: "y" }] } };
    const wanted = { spec: { containers: [{ name: "x", image: "2" }] } };
    assert.deepEqual(overlay(now, wanted, ""), { spec: { a: 1, containers: [{ name: "x", image: "2", kept: true }] } });
  });
});
