import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  clientKubeconfig,
  cniConfig,
  containerdToml,
  encryptionConfig,
  hostKubeconfig,
  kubeletConfig,
  type Programs,
  type SystemImages,
} from "../plan/configs.ts";
import { daemonArgv, daemonNames, needsApi, relayConfig, type DaemonName, type EdgeTarget } from "../plan/daemons.ts";
import type { Instance } from "../plan/instance.ts";
import { kubeconfigClients, pkiConfig } from "../plan/pki.ts";
import { planRegion, regionNames, type RegionPlan } from "../plan/regions.ts";
import { hash, readIfThere, writeFileAtomically } from "./files.ts";
import { run } from "./run.ts";

/** Hash of what each daemon is started with: its command line, and the files of ours that it reads at its start. */
export type Fingerprints = Readonly<Record<DaemonName, string>>;

/** Writes certificates and settings of a region, and tells what each daemon would be started with. */
export async function writeSettings(
  plan: RegionPlan,
  programs: Programs,
  images: SystemImages,
  edge: EdgeTarget | undefined,
): Promise<Fingerprints> {
  // Others may pass through to the volumes, which have their own owners; the rest is for root.
  for (const folder of [plan.instance.state, plan.state]) await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const folder of [plan.conf, plan.pki, plan.logs]) await mkdir(folder, { recursive: true, mode: 0o700 });
  await mkdir(join(plan.run, "pids"), { recursive: true, mode: 0o700 });

  await writeFileAtomically(join(plan.conf, "pki.json"), json(pkiConfig(plan)));
  await run(programs.hostkit, ["pki", "--config", join(plan.conf, "pki.json")]);
  await keepEncryptionKey(plan);

  const files: Partial<Record<DaemonName, Readonly<Record<string, string>>>> = {
    relay: { "relay.json": json(relayConfig(plan, edge)) },
    containerd: {
      "containerd.toml": containerdToml(plan, programs, images),
      "cni/10-pods.conflist": json(cniConfig(plan)),
    },
    kubelet: { "kubelet.json": json(kubeletConfig(plan)), "resolv.conf": "options timeout:1\n" },
  };
  for (const group of Object.values(files)) {
    for (const [name, text] of Object.entries(group)) await writeFileAtomically(join(plan.conf, name), text);
  }
  for (const client of kubeconfigClients) {
    await writeFileAtomically(join(plan.conf, `${client}.kubeconfig`), json(clientKubeconfig(plan, client)));
  }

  const argv = daemonArgv(plan, programs);
  const certificates = await Promise.all(
    ["ca.crt", "apiserver.crt", "kubelet.crt", "service-accounts.pub"].map((f) => readFile(join(plan.pki, f))),
  );
  const entries = daemonNames.map((name) => {
    const usesCertificates = name === "kube-apiserver" || needsApi.has(name);
    return [name, hash(...argv[name], json(files[name] ?? {}), ...(usesCertificates ? certificates : []))] as const;
  });
  return Object.fromEntries(entries) as Record<DaemonName, string>;
}

/** The key is made once: without it the Secrets in etcd can't be read any more. */
async function keepEncryptionKey(plan: RegionPlan): Promise<void> {
  const path = join(plan.pki, "encryption.json");
  if ((await readIfThere(path)) !== undefined) return;
  await writeFileAtomically(path, json(encryptionConfig(randomBytes(32).toString("base64"))));
}

export function kubeconfigFile(instance: Instance): string {
  return join(instance.state, "kubeconfig");
}

/** Writes the host's kubeconfig with a context for every region that has certificates. */
export async function writeHostKubeconfig(instance: Instance): Promise<void> {
  const contexts = [];
  for (const plan of regionNames.map((region) => planRegion(instance, region))) {
    const file = async (name: string) => await readIfThere(join(plan.pki, name));
    const [authority, certificate, key] = await Promise.all(["ca.crt", "admin.crt", "admin.key"].map(file));
    if (authority === undefined || certificate === undefined || key === undefined) continue;
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    contexts.push({ plan, authority: base64(authority), certificate: base64(certificate), key: base64(key) });
  }
  await writeFileAtomically(kubeconfigFile(instance), json(hostKubeconfig(contexts)));
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
