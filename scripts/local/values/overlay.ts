import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { CertificatePems } from "../../../components/common/certificates.ts";
import { certificateDnsNames } from "../../../components/common/names.ts";
import { ROOT } from "../../paths.ts";
import { mergeTrees, readStackTree, type ConfigTree } from "../../render/stack-config.ts";
import { DEFAULT_REGIONS, topology, type RegionDefinition } from "../../../stacks/topology.ts";
import { sharedPasswords } from "./passwords.ts";
import { LocalPki } from "./pki.ts";

/** Where one region of an instance runs. */
export interface RegionPlace {
  readonly region: string;
  readonly context: string;
  readonly kubeconfig: string;
  readonly clusterDomain: string;
}

/** A region as its stack's config has it. Config that makes no sense says so when it is rendered; until then the region
 *  counts as an active one. */
function definitionOf(region: string): RegionDefinition | undefined {
  const regions = topology.safeParse(readStackTree(region)["regions"] ?? DEFAULT_REGIONS);
  return regions.data?.[region];
}

/** What a region is for when the platform is made. */
export function regionRole(region: string): RegionDefinition["role"] {
  return definitionOf(region)?.role ?? "active";
}

/** Place of a region in the order of a start: 0 for the active one, then by takeover priority. */
export function priorityOf(region: string): number {
  const definition = definitionOf(region);
  return definition === undefined || definition.role === "active" ? 0 : definition.priority;
}

/** The committed part of the overlay, for a region of this role. */
export function committedOverlay(role: RegionDefinition["role"]): ConfigTree {
  const text = readFileSync(join(ROOT, "scripts/local/overlay.yaml"), "utf8");
  const [every, standby] = parseAllDocuments(text).map((document) => document.toJS() as ConfigTree);
  return role === "active" ? every! : mergeTrees(every!, standby!);
}

export interface OverlayOptions {
  /** Folder (0700) that keeps the instance's certificates and passwords. */
  readonly stateFolder: string;
  readonly domain: string;
  readonly namespace: string;
  /** Port under which the edge's HTTPS is found, where it is not 443: what plain HTTP is sent on to. */
  readonly httpsPort?: number;
}

/** The part of the overlay that only this machine knows: where the cluster is, certificates and shared passwords. It
 *  holds secrets: it goes to the program and to no file or terminal. */
export async function machineOverlay(place: RegionPlace, options: OverlayOptions): Promise<ConfigTree> {
  const pki = new LocalPki(join(options.stateFolder, "pki"));
  const names = certificateDnsNames(
    { region: place.region, domain: options.domain, clusterDomain: place.clusterDomain },
    options.namespace,
  );
  const pems: CertificatePems = await pki.certificates(place.region, names);
  return {
    cluster: { context: place.context, kubeconfig: place.kubeconfig, domain: place.clusterDomain },
    ...(options.httpsPort === undefined ? {} : { edge: { publicHttpsPort: options.httpsPort } }),
    certificatePems: pems,
    secrets: sharedPasswords(join(options.stateFolder, "passwords.json")),
  };
}

/** Config of images that were built here, each under the hash of what it was made from. */
export function imageOverlay(references: Readonly<Record<string, string>>): ConfigTree {
  return { images: { overrides: { ...references } } };
}
