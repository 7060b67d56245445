"""Patroni's REST API, as the programs of a database pod use it."""

import base64
import http.client
import json
import os
import ssl
import urllib.parse

import pod

RUN = os.environ.get("IAM_HA_RUN_DIR", "/run/reconciler")


class Problem(Exception):
    """A step that did not work this time."""


class Api:
    """Patroni's REST API, of this pod and of the others. Whoever changed the API's password has changed it in the files
    first, and Patroni knows the old one until it reloads: so the password that worked last is tried too."""

    def __init__(self):
        self.known = f"{RUN}/rest-password"

    def last(self):
        try:
            with open(self.known, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def call(self, method, path, body=None, base=pod.PATRONI, timeout=10):
        """Status and JSON (or text) of the answer."""
        if method == "GET":
            return self.once(method, path, body, base, timeout, {})
        last = self.last()
        wanted = pod.credentials()["restapi"]["authentication"]["password"]
        for password in dict.fromkeys([wanted, last or wanted]):
            token = base64.b64encode(f"patroni:{password}".encode()).decode()
            status, answer = self.once(method, path, body, base, timeout, {"Authorization": f"Basic {token}"})
            if status != 401:
                if base == pod.PATRONI and password != last:
                    pod.write_whole(self.known, password)
                return status, answer
        raise Problem(f"{method} {base}{path}: neither the configured nor the last password is accepted")

    def once(self, method, path, body, base, timeout, headers):
        url = urllib.parse.urlsplit(base)
        context = ssl.create_default_context(cafile=f"{pod.TLS}/ca.crt")
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            status, answer = response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Problem(f"{method} {base}{path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, answer

    def get(self, path, base=pod.PATRONI):
        status, answer = self.call("GET", path, base=base, timeout=5)
        if status != 200 or not isinstance(answer, dict):
            raise Problem(f"GET {path} answered {status}")
        return answer

    @staticmethod
    def base_of(member):
        """Where the API of a member of /cluster is."""
        return member["api_url"].rsplit("/", 1)[0]
