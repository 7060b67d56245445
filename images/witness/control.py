"""etcdctl: every call with a time-out, passwords by environment or standard input alone."""

import base64
import json
import os
import subprocess


class Failed(Exception):
    """A call that did not work; `kind` tells why: "password", "unavailable" or "other"."""

    def __init__(self, text):
        super().__init__(text)
        if "authentication failed" in text:
            self.kind = "password"
        elif any(word in text for word in ("deadline exceeded", "timed out", "no leader", "connection")):
            self.kind = "unavailable"
        else:
            self.kind = "other"


def etcdctl(endpoint, tls, timeout, *argv, user=None, stdin=""):
    """What the call answers, decoded. While authentication is off, etcdctl goes on without the user.

    @raises Failed in etcd's own words"""
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin"),
        "ETCDCTL_ENDPOINTS": endpoint,
        "ETCDCTL_CACERT": f"{tls}/ca.crt",
        "ETCDCTL_CERT": f"{tls}/tls.crt",
        "ETCDCTL_KEY": f"{tls}/tls.key",
        "ETCDCTL_DIAL_TIMEOUT": f"{timeout}s",
        "ETCDCTL_COMMAND_TIMEOUT": f"{timeout}s",
    }
    if user is not None:
        environment["ETCDCTL_USER"], environment["ETCDCTL_PASSWORD"] = user
    try:
        done = subprocess.run(
            ["etcdctl", "--write-out=json", *argv],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            # etcdctl authenticates first, with the same time-out.
            timeout=2 * timeout + 5,
        )
    except subprocess.TimeoutExpired:
        raise Failed("etcdctl itself timed out") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        raise Failed(f"{' '.join(argv[:2])}: {' '.join(lines) or done.stderr.strip()}")
    # Some calls have no JSON form and answer in words.
    return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else {}


def members(endpoint, tls, timeout):
    """etcd's list of members, as a majority has it: without one this fails."""
    answer = etcdctl(endpoint, tls, timeout, "member", "list")
    return [
        {
            "id": f"{member['ID']:x}",
            "name": member.get("name", ""),
            "peer": (member.get("peerURLs") or [""])[0],
            "started": bool(member.get("clientURLs")),
        }
        for member in answer["members"]
    ]


def value(answer):
    """The value of the one key that `get` was asked for; None when there is none."""
    found = answer.get("kvs")
    return base64.b64decode(found[0].get("value", "")).decode() if found else None


def permissions(answer):
    """The grants of a role, from `role get`: (type, prefix) each. A grant that is no prefix gives its key with a NUL
    byte: it equals none that is wanted."""
    kinds = {0: "read", 1: "write", 2: "readwrite"}
    found = []
    for grant in answer.get("perm") or []:
        key = base64.b64decode(grant.get("key") or "")
        end = base64.b64decode(grant.get("range_end") or "")
        prefix = key and end == key[:-1] + bytes([key[-1] + 1])
        found.append((kinds[grant.get("permType", 0)], key.decode() if prefix else f"{key.decode()}\0{end.decode()}"))
    return found
