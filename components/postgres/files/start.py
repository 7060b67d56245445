"""Starts Patroni: `start.py PROGRAM ARGUMENT...` prepares what the pod's database needs and becomes that program.

- A data directory that the reconciler has marked is removed, if its source is there and is the same system.
- Where it is not settled what the database is, the region controller says so; Patroni gets that as one more file.
- Patroni's folder holds links to the mounted files, so that it sees what changes in them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import birth
import pod
import source

# Then the container ends, and comes again: nothing waits in it for ever that the kubelet takes for a start.
ANSWER_SECONDS = 60
WATCH_SECONDS = 2


def control_data():
    """What pg_controldata says, by its own names."""
    done = subprocess.run(
        ["pg_controldata", pod.DATA], env={**os.environ, "LC_ALL": "C"}, timeout=30, capture_output=True, text=True,
        check=True,
    )
    return dict(re.split(r":\s+", line, maxsplit=1) for line in done.stdout.splitlines() if re.search(r":\s", line))


def take_marker():
    """The order to rebuild, which holds for one start only."""
    try:
        order = pod.read_json(pod.MARKER)
        os.unlink(pod.MARKER)
    except FileNotFoundError:
        return None
    except ValueError:
        os.unlink(pod.MARKER)
        return None
    return order


def obey(order):
    """Removes the data directory of a standby. Everything that was true when it was ordered must be true now."""
    found = control_data()
    cause = None
    if not os.path.exists(f"{pod.DATA}/standby.signal"):
        cause = "this is no standby"
    elif "recovery" not in found.get("Database cluster state", ""):
        cause = f"the database was last {found.get('Database cluster state')}"
    elif found.get("Database system identifier") != order["system_id"]:
        cause = "the database is another one"
    else:
        answer = source.ask(order["host"], order["port"], order["system_id"])
        if answer["verdict"] != "available":
            cause = answer["cause"]
    if cause is not None:
        pod.log("start", "not rebuilt", cause=cause)
        return
    # One step, so that there is never half a database under this name.
    os.rename(pod.DATA, stale())
    pod.log("start", "data directory removed", cause="to be copied anew", source=order["host"])


def stale():
    return f"{pod.DATA}.stale"


def clean():
    """What an earlier start did not get to remove, and base backups that were not finished: Patroni would not begin with
    something in its way. Anything else without a control file is left for a person to look at."""
    shutil.rmtree(stale(), ignore_errors=True)
    if pod.data_missing() and os.path.exists(f"{pod.DATA}/backup_label"):
        pod.log("start", "unfinished copy removed")
        os.rename(pod.DATA, stale())
        shutil.rmtree(stale())


def prepare(answer, clone_method):
    """Patroni's folder, made anew."""
    os.makedirs(pod.STARTED, mode=0o700, exist_ok=True)
    for name in os.listdir(pod.STARTED):
        os.unlink(f"{pod.STARTED}/{name}")
    for name in sorted(os.listdir(pod.CONFIG)):
        if name.endswith(".yml"):
            os.symlink(f"{pod.CONFIG}/{name}", f"{pod.STARTED}/{name}")
    if answer and answer["as"] == "standby":
        dcs = {"standby_cluster": birth.standby_cluster(answer["source"], clone_method)}
        pod.write_whole(f"{pod.STARTED}/{pod.BIRTH}", json.dumps({"bootstrap": {"dcs": dcs}}, indent=2))


def watch(parent):
    """Ends Patroni, in order, when the reconciler has marked the data directory; the container then starts anew."""
    while os.getppid() == parent:
        if os.path.exists(pod.MARKER):
            pod.log("start", "ending", cause="the data directory is to be copied anew")
            os.kill(parent, signal.SIGTERM)
            return
        time.sleep(WATCH_SECONDS)


def main(command):
    os.umask(0o077)
    order = take_marker()
    if order and not pod.data_missing():
        obey(order)
    clean()
    answer = None
    if pod.unborn() is not None:
        answer = birth.wait(ANSWER_SECONDS)
        if answer is None:
            sys.exit(f"start: no word on what this database is to be within {ANSWER_SECONDS} s")
        # What another region's data would become: a second history of the same database.
        if answer["as"] == "primary" and not pod.data_missing():
            sys.exit("start: the region controller wants a primary here, but the data is a copy of another region's: it is never promoted by a start")
        # Another region's; without it Patroni goes by the cluster's state, and without that by the answer.
        if os.path.exists(pod.CACHE):
            os.unlink(pod.CACHE)
    prepare(answer, pod.read_json(f"{pod.HERE}/reconciler.json")["clone_method"])
    parent = os.getpid()
    if os.fork() == 0:
        watch(parent)
        os._exit(0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
