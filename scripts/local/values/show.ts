import { CERTIFICATE_NAMES } from "../../../components/common/certificates.ts";
import type { ConfigTree } from "../../render/stack-config.ts";
import { committedOverlay, regionRole } from "./overlay.ts";

const PLACEHOLDER = {
  certificate: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
  key: "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
  ca: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
};

/** The embedded overlay with placeholders for what only a machine knows: for showing and checking what it renders. */
export function machineOverlayForShow(region: string): ConfigTree[] {
  return [
    committedOverlay(regionRole(region)),
    {
      cluster: { domain: `cluster.${region}` },
      certificatePems: Object.fromEntries(CERTIFICATE_NAMES.map((name) => [name, PLACEHOLDER])),
    },
  ];
}
