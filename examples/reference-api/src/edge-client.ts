import { watchFile, unwatchFile, readFileSync } from "node:fs";
import type { Server as HttpsServer } from "node:https";
import type { TLSSocket } from "node:tls";
import type { FastifyRequest } from "fastify";
import { ApiError } from "./errors.ts";
import type { Settings } from "./settings.ts";

type Tls = NonNullable<Settings["tls"]>;

/** What the HTTPS server is made from. A client certificate is asked for and not demanded here, as probes have none:
 *  who needs it is decided by path, see {@link demandEdge}. */
export function tlsOptions(tls: Tls) {
  return {
    key: readFileSync(tls.keyFile),
    cert: readFileSync(tls.certFile),
    ca: readFileSync(tls.caFile),
    minVersion: "TLSv1.2" as const,
    requestCert: true,
    rejectUnauthorized: false,
  };
}

/** Lets in only who shows a certificate of the internal CA with the edge's name.
 *  @throws ApiError 403 */
export function demandEdge(request: FastifyRequest, edgeName: string): void {
  const socket = request.raw.socket as TLSSocket;
  if (socket.authorized && socket.getPeerCertificate().subject?.CN === edgeName) return;
  throw new ApiError(403, "client_certificate_required", "This path is for the edge, with its client certificate.");
}

/** Takes a renewed certificate for new connections; looks every 10 s. A pair that does not fit together (the files are in
 *  the middle of being replaced) is left for the next look. Returns what ends it. */
export function followCertificate(server: HttpsServer, tls: Tls, onChange: (error?: Error) => void): () => void {
  const take = () => {
    try {
      server.setSecureContext(tlsOptions(tls));
      onChange();
    } catch (error) {
      onChange(error as Error);
    }
  };
  watchFile(tls.certFile, { interval: 10_000, persistent: false }, take);
  return () => unwatchFile(tls.certFile, take);
}
