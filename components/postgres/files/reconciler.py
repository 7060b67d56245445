"""Brings changed settings, passwords and certificates to a running database pod, without anybody's hand.

Each round looks at the mounted files and at the pod's own Patroni:
- files of the local configuration, certificates or passwords changed: Patroni reloads, and PostgreSQL with it;
- on the leader, the cluster's dynamic configuration differs from the desired one: only our own keys are patched;
- on the primary, roles and passwords are made what they should be;
- on the leader, members whose parameters need a restart get it, one at a time;
- slots that were lost are dropped, and standbys that can no longer follow are copied anew (rebuild.py).
A round that fails is logged and tried again; nothing is kept but what the next round can find out by itself."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import patroni_api
import pod
import rebuild
import roles
import rules
from patroni_api import Problem
from pod import CREDENTIALS, DYNAMIC, TLS

ROLES_EVERY_SECONDS = 60
SLOTS_EVERY_SECONDS = 15
LOCAL = "10-patroni.yml"
PROGRAMS = ("patroni_api.py", "pod.py", "rebuild.py", "reconciler.py", "roles.py", "rules.py", "source.py")


def log(event, **fields):
    pod.log("reconciler", event, **fields)


def digest(*paths):
    """One word for the content of files; those that are missing count too."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                total.update(hashlib.sha256(file.read()).digest())
        except FileNotFoundError:
            total.update(b"missing")
    return total.hexdigest()


def config_digest():
    return digest(f"{pod.CONFIG}/{LOCAL}", *(f"{TLS}/{file}" for file in ("tls.crt", "tls.key", "ca.crt")))


def scripts_digest():
    return digest(*(f"{pod.HERE}/{file}" for file in PROGRAMS))


class Reconciler:
    def __init__(self):
        self.api = patroni_api.Api()
        self.rebuild = rebuild.Rebuild(self.api)
        self.slots_at = float("-inf")
        self.loaded = self.loaded_credentials = None  # unknown at the start: one reload too many does no harm
        self.roles_at = float("-inf")
        self.roles_for = None
        self.restarted = {}
        self.quiet_until = None
        self.problems = {}

    def settings(self):
        return pod.read_json(f"{pod.HERE}/reconciler.json")

    def round(self):
        found = {}
        if not self.attempt("observe", lambda: found.update(self.observe())):
            return
        me, cluster, settings = found["me"], found["cluster"], found["settings"]
        if me.get("state") != "running":
            self.quiet_until = None
            return
        leader = me.get("role") in ("primary", "standby_leader")
        # Passwords first: who reloads after this can log in with the new ones.
        if me["role"] == "primary":
            self.attempt("roles", lambda: self.ensure_roles(settings))
        self.attempt("reload", lambda: self.reload(cluster, leader))
        if not leader:
            self.quiet_until = None
            return
        self.attempt("configuration", lambda: self.patch(settings))
        self.attempt("slots", self.drop_lost_slots)
        if not me.get("pause"):
            self.attempt("rebuild", lambda: self.rebuild.step(me, cluster, settings))
        if settings["rolling_restarts"] and not me.get("pause"):
            self.attempt("restart", lambda: self.restart(cluster, settings))

    def attempt(self, step, action):
        """Runs a step; a problem is logged, once, and does not keep the other steps from running."""
        try:
            action()
        except (Problem, OSError, ValueError, KeyError) as error:
            text = f"{type(error).__name__}: {error}"
            if self.problems.get(step) != text:
                log("step failed", step=step, cause=text)
            self.problems[step] = text
            return False
        self.problems.pop(step, None)
        return True

    def observe(self):
        # /patroni answers 200 whatever the state, as soon as Patroni is up.
        return {"settings": self.settings(), "me": self.api.get("/patroni"), "cluster": self.api.get("/cluster")}

    def ensure_roles(self, settings):
        credentials = pod.read_json(f"{pod.CONFIG}/{CREDENTIALS}")
        key = digest(f"{pod.CONFIG}/{CREDENTIALS}", f"{pod.HERE}/reconciler.json")
        if key == self.roles_for and time.monotonic() - self.roles_at < ROLES_EVERY_SECONDS:
            return
        try:
            for change in roles.ensure(credentials, settings["application"]):
                log("role changed", statement=change)
        except roles.Failed as failed:
            raise Problem(f"roles: {failed}") from failed
        self.roles_at, self.roles_for = time.monotonic(), key

    def reload(self, cluster, leader):
        config = config_digest()
        credentials = digest(f"{pod.CONFIG}/{CREDENTIALS}")
        if (config, credentials) == (self.loaded, self.loaded_credentials):
            return
        # A replica with a new password that the primary does not know yet would stop streaming, and commits with it.
        if not leader and credentials != self.loaded_credentials and not self.credentials_work(cluster):
            log("reload put off", cause="the leader does not take the replication password yet")
            return
        status, _ = self.api.call("POST", "/reload")
        if status != 202:
            raise Problem(f"POST /reload answered {status}")
        log("reloaded", cause="configuration, certificate or password" if self.loaded else "start")
        self.loaded, self.loaded_credentials = config, credentials

    def credentials_work(self, cluster):
        """Whether the replication role can log in to the leader with its configured password."""
        leader = next((m for m in cluster.get("members", []) if m.get("role") in rules.LEADER_ROLES), None)
        if not leader or "host" not in leader:
            return False
        auth = pod.read_json(f"{pod.CONFIG}/{CREDENTIALS}")["postgresql"]["authentication"]["replication"]
        where = {
            "host": leader["host"], "port": leader.get("port", 5432), "user": auth["username"], "replication": "true",
            "sslmode": auth["sslmode"], "sslrootcert": auth["sslrootcert"], "connect_timeout": 5,
        }
        command = ["psql", "-XAtq", "-d", " ".join(f"{k}={v}" for k, v in where.items()), "-c", "IDENTIFY_SYSTEM"]
        environment = {**os.environ, "PGPASSWORD": auth["password"]}
        try:
            done = subprocess.run(command, env=environment, timeout=15, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def patch(self, settings):
        desired = pod.read_json(f"{pod.CONFIG}/{DYNAMIC}")["bootstrap"]["dcs"]
        # Members say in their own rounds whether they need a restart: all must have had the time to.
        quiet = settings["quiet_seconds"]
        if self.quiet_until is None:
            self.quiet_until = time.monotonic() + quiet
        patch = rules.plan_patch(desired, self.api.get("/config"))
        if patch is None:
            return
        # What changes now may need a restart of members that just had one.
        self.quiet_until, self.restarted = time.monotonic() + quiet, {}
        status, _ = self.api.call("PATCH", "/config", patch)
        if status != 200:  # 409: somebody else wrote at the same moment
            raise Problem(f"PATCH /config answered {status}")
        log("configuration patched", paths=sorted("/".join(p) for p in rules.leaves(patch) if p[0] != rules.MANAGED))

    def drop_lost_slots(self):
        """A slot whose WAL is gone serves nobody any more. Patroni makes a permanent one anew when it is missing, but
        leaves a lost one alone where its reader had sent feedback."""
        if time.monotonic() - self.slots_at < SLOTS_EVERY_SECONDS:
            return
        self.slots_at = time.monotonic()
        lost = "slot_type = 'physical' AND wal_status = 'lost' AND NOT active"
        try:
            sql = f"SELECT slot_name, pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE {lost}"
            dropped = [line.split("|")[0] for line in roles.psql(sql).splitlines()]
        except roles.Failed as failed:
            raise Problem(f"slots: {failed}") from failed
        for name in dropped:
            log("lost slot dropped", slot=name, cause="its reader was away for more WAL than max_slot_wal_keep_size")

    def restart(self, cluster, settings):
        if self.quiet_until is None or time.monotonic() < self.quiet_until:
            return
        members = cluster.get("members", [])
        name = rules.next_restart(
            members, settings["members"], settings["max_lag_bytes"], self.restarted, time.monotonic()
        )
        if name is None:
            return
        member = next(m for m in members if m["name"] == name)
        self.restarted[name] = time.monotonic()
        base = self.api.base_of(member)
        body = {"restart_pending": True, "timeout": "60s"}
        status, answer = self.api.call("POST", "/restart", body, base=base, timeout=90)
        log("restarted" if status == 200 else "restart refused", member=name, status=status, answer=str(answer)[:200])
        if status == 200 and member.get("role") in rules.LEADER_ROLES:
            # What was lowered could not take effect on replicas before: they get their turn again.
            self.restarted = {name: self.restarted[name]}


def main():
    # At once, whatever it waits for: the next start finds out where things stand.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    reconciler, scripts, interval = Reconciler(), scripts_digest(), 5
    while True:
        reconciler.round()
        with open(f"{patroni_api.RUN}/alive", "w", encoding="utf-8"):
            pass  # its time is what the liveness probe looks at
        try:
            interval = reconciler.settings()["interval_seconds"]
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(interval)
        if scripts_digest() != scripts:
            log("starting again", cause="scripts changed")
            os.execv(sys.executable, [sys.executable, f"{pod.HERE}/reconciler.py"])


if __name__ == "__main__":
    main()
