"""Where things are in a database pod, and what its programs have in common."""

import json
import os
import time

CONFIG = os.environ.get("IAM_HA_PATRONI_DIR", "/etc/patroni")
HERE = os.environ.get("IAM_HA_SCRIPTS_DIR", "/etc/iam-ha")
TLS = os.environ.get("IAM_HA_TLS_DIR", "/etc/postgresql/tls")
SOCKETS = os.environ.get("IAM_HA_SOCKET_DIR", "/run/postgresql")
DATA = os.environ.get("IAM_HA_DATA_DIR", "/var/lib/postgresql/data/pgdata")
# The folder that Patroni is started with.
STARTED = os.environ.get("IAM_HA_STARTED_DIR", "/run/patroni/config")
PATRONI = os.environ.get("IAM_HA_PATRONI_URL", "https://localhost:8008")
DYNAMIC, CREDENTIALS, BIRTH = "20-dynamic.yml", "30-credentials.yml", "40-birth.yml"

# Patroni's copy of the cluster's configuration.
CACHE = f"{DATA}/patroni.dynamic.json"

# Written by the reconciler, obeyed by start.py: a standby that nobody in its region can take over from is to be copied
# anew. In memory: a pod that is replaced meanwhile is asked about again.
MARKER = f"{SOCKETS}/iam-ha-rebuild.json"


def log(component, event, **fields):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": stamp, "component": component, "event": event, **fields}), flush=True)


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def credentials():
    return read_json(f"{CONFIG}/{CREDENTIALS}")


def write_whole(path, text):
    """The file is there as a whole or not at all, for nobody but its owner."""
    half = f"{path}.new"
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(half, path)


def data_missing():
    """Whether there is no database in the data directory, as Patroni sees it. The control file is what a base backup
    copies last: what is there without it is the rest of a copy that was not finished."""
    return not os.path.isfile(f"{DATA}/global/pg_control")


def unborn():
    """Why it is not settled what the pod's database is; None when it is.

    Patroni keeps the cluster's configuration in the data directory too, and goes by that when the cluster's state has
    none. A base backup brings along the other region's: with that, a pod that ends before its cluster is registered
    would come back as a primary, or take the other region's slot. Ours is known by the region that stands in it."""
    if data_missing():
        return "there is no database"
    own = read_json(f"{CONFIG}/{DYNAMIC}")["bootstrap"]["dcs"]["iam_ha_region"]
    try:
        found = read_json(CACHE).get("iam_ha_region")
    except (FileNotFoundError, ValueError, AttributeError):
        found = None
    return None if found == own else "the database was copied from another region, and its cluster may not be registered"
