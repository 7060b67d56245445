"""Asks a server whether a standby could stream from it: `source.py HOST PORT SYSTEM_ID LSN TIMELINE` prints
{"verdict", "cause"}. LSN and TIMELINE are what the standby needs next; with `-` for both, only who the server is is asked.

Verdicts: "available"; "gone": it no longer has the WAL that is needed; "foreign": another system identifier;
"unreachable"; "refused": anything else it said, such as that the standby's history is not its own.

A program of its own, so that whoever asks can end it: a connection for replication knows no time limit."""

import json
import os
import select
import subprocess
import sys

import pod

TIMEOUT_SECONDS = 20
# How long the server has to say that it has not got what was asked for; it does at once.
LISTEN_SECONDS = 3


def verdict_of(code, message):
    """What a failure of START_REPLICATION means. PostgreSQL reports the missing file of a WAL segment as such (58P01)."""
    return "gone" if code == "58P01" and "WAL segment" in message else "refused"


def address(host, port):
    """Parameters of a connection for replication to a server, without the password."""
    auth = pod.credentials()["postgresql"]["authentication"]["replication"]
    return {
        "host": host, "port": str(port), "user": auth["username"], "sslmode": auth["sslmode"],
        "sslrootcert": auth["sslrootcert"], "connect_timeout": "5", "keepalives_idle": "10", "tcp_user_timeout": "15000",
    }


def password():
    return pod.credentials()["postgresql"]["authentication"]["replication"]["password"]


def probe(host, port, system_id, lsn, timeline):
    # Patroni's own driver; only here, as nothing else needs it.
    import psycopg2
    from psycopg2.extras import PhysicalReplicationConnection

    try:
        connection = psycopg2.connect(
            **address(host, port), password=password(), application_name="iam-ha-probe",
            connection_factory=PhysicalReplicationConnection,
        )
    except psycopg2.OperationalError as error:
        return {"verdict": "unreachable", "cause": first_line(error)}
    try:
        cursor = connection.cursor()
        cursor.execute("IDENTIFY_SYSTEM")
        found = str(cursor.fetchone()[0])
        if found != system_id:
            return {"verdict": "foreign", "cause": f"its system identifier is {found}, not {system_id}"}
        if lsn == "-":
            return {"verdict": "available", "cause": "it is the same system"}
        cursor.start_replication(start_lsn=lsn, timeline=int(timeline))
        if cursor.read_message() is None:
            select.select([cursor], [], [], LISTEN_SECONDS)
            cursor.read_message()
        return {"verdict": "available", "cause": f"it has the WAL from {lsn} on"}
    except psycopg2.Error as error:
        return {"verdict": verdict_of(error.pgcode, str(error)), "cause": first_line(error)}
    finally:
        connection.close()


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def ask(host, port, system_id, lsn="-", timeline="-"):
    """The same, from another program, within a time limit."""
    command = [sys.executable, os.path.join(pod.HERE, "source.py"), host, str(port), system_id, lsn, str(timeline)]
    try:
        done = subprocess.run(command, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"verdict": "unreachable", "cause": f"no answer within {TIMEOUT_SECONDS} s"}
    except ValueError:
        return {"verdict": "unreachable", "cause": (done.stderr.strip().splitlines() or ["no answer"])[-1]}


if __name__ == "__main__":
    print(json.dumps(probe(*sys.argv[1:6])))
