"""Brings roles, passwords and the application's database to what is configured. Safe to run again at any time.

Runs as Patroni's post_bootstrap, before a new cluster opens, and from the reconciler on the primary, so that a changed
password takes effect. Connects through the pod's own socket as the operating system's user; passwords reach PostgreSQL
as verifiers only, on standard input."""

import json
import os
import subprocess
import sys

import rules

CONFIG = os.environ.get("IAM_HA_PATRONI_DIR", "/etc/patroni")
HERE = os.environ.get("IAM_HA_SCRIPTS_DIR", "/etc/iam-ha")
SOCKETS = os.environ.get("IAM_HA_SOCKET_DIR", "/run/postgresql")
PORT = os.environ.get("IAM_HA_PORT", "5432")
# A role that only this node has for a moment is made again by the next primary, so nothing waits for replicas here;
# and what is sent must not be logged, whatever log_statement says.
OPTIONS = "-c synchronous_commit=local -c log_statement=none -c log_min_duration_statement=-1 -c lock_timeout=5s"


class Failed(Exception):
    """What psql said when it failed."""


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def psql(sql, database="postgres", timeout=30):
    """Runs SQL, gives standard output. Values must have been quoted."""
    environment = {**os.environ, "PGOPTIONS": OPTIONS, "PGCONNECT_TIMEOUT": "5"}
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", SOCKETS, "-p", PORT, "-U", "postgres", "-d", database]
    try:
        done = subprocess.run(
            command, input=sql, env=environment, timeout=timeout, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"psql did not end within {timeout} s") from error
    if done.returncode != 0:
        # The first line alone: the next ones quote the statement.
        raise Failed((done.stderr.strip().splitlines() or ["psql failed"])[0])
    return done.stdout.strip()


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def name(text):
    return '"' + text.replace('"', '""') + '"'


def wanted_roles(credentials, application):
    """[(role, attributes when it is made, password)]"""
    auth = credentials["postgresql"]["authentication"]
    return [
        (auth["superuser"]["username"], "SUPERUSER", auth["superuser"]["password"]),
        (auth["replication"]["username"], "REPLICATION", auth["replication"]["password"]),
        (auth["rewind"]["username"], "", auth["rewind"]["password"]),
        (application["user"], "", credentials["iam_ha"]["application"]["password"]),
    ]


def role_statements(roles, existing):
    """SQL that makes what is missing and sets passwords that are not the wanted ones; `existing` is {role: verifier}."""
    statements = []
    for role, attributes, password in roles:
        if role in existing and rules.scram_matches(existing[role], password):
            continue
        verb = "ALTER" if role in existing else "CREATE"
        verifier = rules.scram_verifier(password, os.urandom(16))
        options = "" if role in existing else f" LOGIN {attributes}"
        statements.append(f"{verb} ROLE {name(role)}{options} PASSWORD {literal(verifier)};")
    return statements


def ensure(credentials, application):
    """Gives what was changed, in words."""
    roles = wanted_roles(credentials, application)
    names = ", ".join(literal(role) for role, _, _ in roles)
    rows = psql(f"SELECT json_object_agg(rolname, rolpassword) FROM pg_authid WHERE rolname IN ({names})")
    existing = json.loads(rows) if rows else {}
    statements = role_statements(roles, existing)
    if statements:
        psql("\n".join(["BEGIN;", *statements, "COMMIT;"]))
    changed = [s.split(" PASSWORD ")[0] for s in statements]
    database, owner = application["database"], application["user"]
    if not psql(f"SELECT 1 FROM pg_database WHERE datname = {literal(database)}"):
        psql(f"CREATE DATABASE {name(database)} OWNER {name(owner)};", timeout=60)
        changed.append(f"CREATE DATABASE {name(database)}")
    # Nobody but its owner has anything to look for in it. A missing list of rights means PostgreSQL's default: anybody.
    public = f"SELECT 1 FROM pg_database d LEFT JOIN LATERAL aclexplode(d.datacl) a ON true " \
             f"WHERE d.datname = {literal(database)} AND (d.datacl IS NULL OR a.grantee = 0) LIMIT 1"
    if psql(public):
        psql(f"REVOKE ALL ON DATABASE {name(database)} FROM PUBLIC;")
        changed.append(f"REVOKE ALL ON DATABASE {name(database)} FROM PUBLIC")
    return changed


def main():
    application = read_json(f"{HERE}/reconciler.json")["application"]
    try:
        for change in ensure(read_json(f"{CONFIG}/30-credentials.yml"), application):
            print(f"roles: {change}", flush=True)
    except Failed as failed:
        sys.exit(f"roles: {failed}")


if __name__ == "__main__":
    main()
