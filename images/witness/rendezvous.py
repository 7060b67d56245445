"""How members see each other before etcd runs: on the peers' port, over TLS with certificates on both sides.

`GET /members` is answered by etcd with the list of its members, and by one who waits with an empty volume with
{"waiting": REGION}. Everything else is 404, which other etcds take for "not there yet"."""

import http.client
import http.server
import json
import socket
import ssl
import threading
import urllib.parse

# A name that every member's certificate holds, and that of no other part.
NAME = "witness"


def context(tls, purpose):
    made = ssl.create_default_context(purpose, cafile=f"{tls}/ca.crt")
    made.load_cert_chain(f"{tls}/tls.crt", f"{tls}/tls.key")
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def look(name, peer, tls, timeout):
    """The view of another member (see rules.py)."""
    url = urllib.parse.urlsplit(peer)
    try:
        connection = http.client.HTTPSConnection(
            url.hostname, url.port, timeout=timeout, context=context(tls, ssl.Purpose.SERVER_AUTH)
        )
        try:
            connection.request("GET", "/members")
            response = connection.getresponse()
            answer = json.loads(response.read(1_000_000))
            if response.status != 200:
                raise ValueError(f"answers {response.status}")
        finally:
            connection.close()
        if isinstance(answer, dict):
            if answer.get("waiting") != name:
                raise ValueError(f"{answer.get('waiting')} answers in its place")
            return {"state": "empty"}
        # A member tells its clients' address through a majority: who knows one is part of a formed cluster.
        members = [
            {
                "id": f"{member['id']:x}",
                "name": member.get("name", ""),
                "peer": (member.get("peerURLs") or [""])[0],
                "started": bool(member.get("clientURLs")),
            }
            for member in answer
        ]
        return {"state": "member", "formed": any(member["started"] for member in members), "members": members}
    except (OSError, ValueError, TypeError, AttributeError, LookupError, http.client.HTTPException) as error:
        return {"state": "unreachable", "why": f"{type(error).__name__}: {error}"}


class Waiting:
    """Says on the peers' port that this member waits with an empty volume."""

    def __init__(self, region, host, port, tls):
        answer = json.dumps({"waiting": region}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 5

            def setup(self):
                # The handshake belongs to this connection's thread: a silent client holds up nobody.
                self.request.settimeout(self.timeout)
                self.request.do_handshake()
                names = self.request.getpeercert().get("subjectAltName", ())
                if ("DNS", NAME) not in names:
                    raise ssl.SSLError("not a member's certificate")
                super().setup()

            def do_GET(self):
                found = self.path == "/members"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer) if found else 0))
                self.end_headers()
                if found:
                    self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            # etcd takes the port over a moment later.
            allow_reuse_address = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def get_request(self):
                connection, address = super().get_request()
                return tls_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_):
                pass

        tls_context = context(tls, ssl.Purpose.CLIENT_AUTH)
        self._server = Server((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
