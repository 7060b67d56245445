"""Brings roles, passwords and the application's database to what is configured. Safe to run again at any time.

Runs as Patroni's post_bootstrap, before a new cluster opens, and from the reconciler on the primary, so that a changed
password takes effect. Connects through the pod's own socket as the operating system's user; passwords reach PostgreSQL
as verifiers only, on standard input."""

import json
import os
import subprocess
import sys

import rules
from pod import CONFIG, HERE, SOCKETS, read_json

PORT = os.environ.get("IAM_HA_PORT", "5432")
# A role that only this node has for a moment is made again by the next primary, so nothing waits for replicas here;
# and what is sent must not be logged, whatever log_statement says.
OPTIONS = "-c synchronous_commit=local -c log_statement=none -c log_min_duration_statement=-1 -c lock_timeout=5s"


# What the monitoring role may: look at statistics, and read what is compared between regions.
MONITOR_GROUPS = ("pg_monitor", "pg_read_all_data")


class Failed(Exception):
    """What psql said when it failed."""


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
        (credentials["iam_ha"]["monitor"]["username"], "", credentials["iam_ha"]["monitor"]["password"]),
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


def grant_statements(role, database, granted):
    """SQL that gives the monitoring role what it lacks; `granted` is what it has of this."""
    wanted = [(f"MEMBER {group}", f"GRANT {group} TO {name(role)};") for group in MONITOR_GROUPS]
    wanted.append(("CONNECT", f"GRANT CONNECT ON DATABASE {name(database)} TO {name(role)};"))
    return [statement for what, statement in wanted if what not in granted]


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
    monitor = credentials["iam_ha"]["monitor"]["username"]
    have = psql(
        f"SELECT 'MEMBER ' || roleid::regrole FROM pg_auth_members WHERE member = {literal(monitor)}::regrole UNION ALL "
        f"SELECT privilege_type FROM pg_database d, aclexplode(d.datacl) a "
        f"WHERE d.datname = {literal(database)} AND a.grantee = {literal(monitor)}::regrole"
    )
    grants = grant_statements(monitor, database, have.splitlines())
    if grants:
        psql("\n".join(grants))
    return changed + [statement.rstrip(";") for statement in grants]


def main():
    application = read_json(f"{HERE}/reconciler.json")["application"]
    try:
        for change in ensure(read_json(f"{CONFIG}/30-credentials.yml"), application):
            print(f"roles: {change}", flush=True)
    except Failed as failed:
        sys.exit(f"roles: {failed}")


if __name__ == "__main__":
    main()
