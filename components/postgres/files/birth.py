"""Asks the region controller what a database that is not there yet is to be: the first of all, or the copy of another
region's. As a program it waits for that, for as long as it takes, before a pod's database starts; start.py asks again
and goes by that answer.

The configuration cannot say: it describes what a region is for, and another region may be the active one by now."""

import http.client
import json
import os
import re
import socket
import ssl
import sys
import time
import urllib.parse

import pod

TIMEOUT_SECONDS = 3
PAUSE_SECONDS = 1
SLOT = re.compile(r"[a-z0-9_]{1,63}")


def parse(answer):
    """The answer, checked. Raises ValueError with what is wrong with it."""
    if not isinstance(answer, dict) or answer.get("as") not in ("primary", "standby", "wait"):
        raise ValueError('not an answer with "as" primary, standby or wait')
    if answer["as"] != "standby":
        return {"as": answer["as"], "cause": str(answer.get("cause", ""))}
    source = answer.get("source")
    if not isinstance(source, dict):
        raise ValueError("a standby without a source")
    host, port, slot = source.get("host"), source.get("port"), source.get("slot")
    if not isinstance(host, str) or not host or re.search(r"[\s,]", host):
        raise ValueError("source.host is not the name of a host")
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ValueError("source.port is not a port")
    if not isinstance(slot, str) or not SLOT.fullmatch(slot):
        raise ValueError("source.slot is not the name of a replication slot")
    return {"as": "standby", "cause": str(answer.get("cause", "")), "source": {"host": host, "port": port, "slot": slot}}


def standby_cluster(source, clone_method):
    """What Patroni calls a standby cluster: bootstrap.dcs.standby_cluster."""
    return {
        "host": source["host"],
        "port": source["port"],
        "primary_slot_name": source["slot"],
        "create_replica_methods": [clone_method, "basebackup"],
    }


def ask(url):
    """Raises OSError or ValueError with what went wrong."""
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=f"{pod.TLS}/ca.crt")
    context.load_cert_chain(f"{pod.TLS}/tls.crt", f"{pod.TLS}/tls.key")
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.request("GET", "/birth", headers={"Accept": "application/json"})
        response = connection.getresponse()
        text = response.read(65536)
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"it answered {response.status}")
    return parse(json.loads(text))


def wait(limit_seconds=float("inf")):
    """An answer that is not "wait"; None when there was none in time. Says why it waits whenever the cause changes."""
    url, said = os.environ["IAM_HA_REGION_CONTROLLER"], None
    end = time.monotonic() + limit_seconds
    while True:
        begin = time.monotonic()
        try:
            answer = ask(url)
            if answer["as"] != "wait":
                pod.log("birth", "decided", **{"as": answer["as"]}, cause=answer["cause"], source=answer.get("source"))
                return answer
            cause = answer["cause"]
        except (OSError, ValueError) as error:
            cause = f"the region controller: {type(error).__name__}: {error}"
        if cause != said:
            pod.log("birth", "waiting", cause=cause)
            said = cause
        pause = max(0.0, PAUSE_SECONDS - (time.monotonic() - begin))
        if time.monotonic() + pause >= end:
            return None
        time.sleep(pause)


def main():
    cause = pod.unborn()
    if cause is None:
        pod.log("birth", "nothing to decide", cause="there is a database of this region")
        return
    pod.log("birth", "asking", cause=cause)
    # Patroni gives up on a source that is not there and ends; the pauses of the kubelet between restarts grow to minutes.
    while (answer := wait())["as"] == "standby" and not reachable(answer["source"]):
        time.sleep(PAUSE_SECONDS)


def reachable(source):
    """Whether the source takes connections; says so where it does not."""
    try:
        socket.create_connection((source["host"], source["port"]), timeout=TIMEOUT_SECONDS).close()
        return True
    except OSError as error:
        pod.log("birth", "waiting", cause=f"{source['host']} does not take connections: {error}")
        return False


if __name__ == "__main__":
    sys.exit(main())
