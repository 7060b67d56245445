"""Patroni's way to copy a member of a standby cluster: pg_basebackup from the member that Patroni names, which is the
local leader where there is one. If that leader can itself no longer follow, as its source has dropped the WAL that it
needs, the copy comes from the source instead: a copy of the leader would stop where the leader has stopped.

Called with --datadir, --connstring (without the password, which is in PGPASSFILE) and more that is not used."""

import json
import os
import subprocess
import sys

import patroni_api
import pod
import rules
import source


def local_leader(api):
    """Member of /cluster that leads, if any."""
    members = api.get("/cluster").get("members", [])
    return next((m for m in members if m.get("role") in rules.LEADER_ROLES), None)


def choose(api):
    """The other region's server when the copy has to come from there; None to do as Patroni says."""
    standby = api.get("/config").get("standby_cluster") or {}
    leader = local_leader(api)
    if not standby.get("host") or leader is None:
        return None, "as Patroni says"
    # Not what Patroni says of its stream: between two refusals that looks well for a moment.
    needs = rules.needs(api.get("/patroni", api.base_of(leader)))
    if needs is None:
        return None, "the leader does not say where it stands"
    answer = source.ask(standby["host"], standby.get("port", 5432), needs["system_id"], needs["lsn"], needs["timeline"])
    there = {"host": standby["host"], "port": standby.get("port", 5432)}
    return (there if answer["verdict"] == "gone" else None), answer["cause"]


def quoted(value):
    """A value of a connection string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def keep_own_configuration():
    """Puts this region's configuration in place of what the copy brought along, so that the pod's next start has nobody
    to ask. Without success that start finds out and asks (pod.unborn)."""
    try:
        live = patroni_api.Api().get("/config")
        if "iam_ha_region" in live:
            pod.write_whole(pod.CACHE, json.dumps(live))
    except (patroni_api.Problem, OSError) as error:
        pod.log("clone", "configuration not kept", cause=f"{type(error).__name__}: {error}")


def main(arguments):
    given = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--") and "=" in argument)
    try:
        there, cause = choose(patroni_api.Api())
    except (patroni_api.Problem, OSError, ValueError, KeyError) as error:
        there, cause = None, f"{type(error).__name__}: {error}"
    dsn, environment = given["connstring"], dict(os.environ)
    if there:
        dsn = " ".join(f"{key}={quoted(value)}" for key, value in source.address(**there).items())
        environment["PGPASSWORD"] = source.password()
    pod.log("clone", "copying", source=there["host"] if there else "as Patroni says", cause=cause)
    command = ["pg_basebackup", "--pgdata", given["datadir"], "-X", "stream", "--checkpoint=fast", "--dbname", dsn]
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode == 0:
        keep_own_configuration()
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
