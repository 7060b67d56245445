import { block, comment, d, type Node } from "./syntax.ts";

/** An error that NGINX answers by itself. Errors of the API pass through as they are. */
export interface EdgeError {
  readonly status: number;
  /** What a program may rely on. */
  readonly code: string;
  /** What a person reads. */
  readonly message: string;
  /** NGINX's statuses that end here, when it is not `status` alone. */
  readonly from?: readonly number[];
}

export const EDGE_ERRORS: readonly EdgeError[] = [
  // 495 to 497 are NGINX's own: a client certificate that is wrong or missing, plain HTTP on the port of HTTPS.
  { status: 400, code: "bad_request", message: "The request could not be understood.", from: [400, 495, 496, 497] },
  { status: 403, code: "forbidden", message: "Access is not allowed." },
  { status: 404, code: "not_found", message: "There is nothing under this path." },
  { status: 405, code: "method_not_allowed", message: "This method is not allowed." },
  { status: 408, code: "request_timeout", message: "The request took too long to arrive." },
  { status: 411, code: "length_required", message: "The request must say how long its body is." },
  { status: 413, code: "payload_too_large", message: "The request's body is too large." },
  { status: 414, code: "uri_too_long", message: "The request's address is too long." },
  { status: 416, code: "range_not_satisfiable", message: "The range that was asked for does not exist." },
  { status: 421, code: "unknown_host", message: "This host name is not served here." },
  { status: 429, code: "too_many_requests", message: "Too many requests; wait before the next one." },
  { status: 431, code: "headers_too_large", message: "The request's header is too large.", from: [494] },
  { status: 500, code: "internal_error", message: "The request could not be handled." },
  { status: 501, code: "not_implemented", message: "The request asks for what is not offered." },
  { status: 502, code: "bad_gateway", message: "The service did not answer properly." },
  { status: 503, code: "unavailable", message: "The service is not available; try again." },
  { status: 504, code: "gateway_timeout", message: "The service did not answer in time." },
];

/** `error_page` lines and what they lead to: a JSON body with a code, and all security headers. To be included by every
 *  server, below which no location has an `error_page` of its own (that would drop all of these) but the full set of
 *  `peerErrorPages`.
 *  @param requestId variable that holds the request's id */
export function errorPages(headersFile: string, retryAfterSeconds: number, requestId: string): Node[] {
  const locations = EDGE_ERRORS.map((error) =>
    block(
      "location",
      ["=", path(error)],
      [
        d("internal"),
        d("include", headersFile),
        // A cache in between must not keep what may be over in a second.
        d("add_header", "Cache-Control", "no-store", "always"),
        ...(error.status === 429 || error.status === 503
          ? [d("add_header", "Retry-After", retryAfterSeconds, "always")]
          : []),
        d("default_type", "application/json"),
        d("return", error.status, errorBody(error, requestId)),
      ],
    ),
  );
  return [
    comment("Errors that NGINX makes itself; what the API answers is never replaced."),
    ...EDGE_ERRORS.flatMap(page),
    ...locations,
  ];
}

/** The same `error_page` lines for where requests are passed to another region's edge, but for those of that edge: one to
 *  which nothing could be sent is unavailable (503, with the word when to try again), and one that got the request and
 *  then failed may have had its effect (502 and 504, as of an API pod). */
export function peerErrorPages(): Node[] {
  const others = EDGE_ERRORS.filter(({ status }) => !PEER_ERRORS.includes(status));
  return [
    ...others.flatMap(page),
    ...PEER_ERRORS.map((status) => d("error_page", status, "=", peerErrorVariable(status))),
  ];
}

/** What `peerErrorPages` chooses by, to be defined at the level of `http`. */
export function peerErrorMaps(): Node[] {
  const unavailable = EDGE_ERRORS.find(({ status }) => status === 503)!;
  return PEER_ERRORS.map((status) =>
    block(
      "map",
      ["$upstream_connect_time", peerErrorVariable(status)],
      [
        d("default", path(unavailable)),
        // The last try's time until the request was sent; `-` where it never was.
        d("~[0-9]$", path(EDGE_ERRORS.find((error) => error.status === status)!)),
      ],
    ),
  );
}

const PEER_ERRORS = [502, 504];

function peerErrorVariable(status: number): string {
  return `$edge_peer_error_${status}`;
}

function page(error: EdgeError): Node[] {
  return (error.from ?? [error.status]).map((from) =>
    from === error.status ? d("error_page", from, path(error)) : d("error_page", from, `=${error.status}`, path(error)),
  );
}

/** The body of an error, as the API's own errors look. */
export function errorBody(error: Pick<EdgeError, "code" | "message">, requestId: string): string {
  return JSON.stringify({ error: { code: error.code, message: error.message, requestId } });
}

/** A path and no named location: those cannot take over from a request whose own path could not be read (400, 414). */
function path(error: EdgeError): string {
  return `/.errors/${error.status}`;
}
