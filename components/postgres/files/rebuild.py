"""Copies standbys anew that can no longer follow, because the WAL that they need is gone where they would get it from.

Runs on a region's leader, a step a round, and keeps nothing but how long things have been as they are: whoever leads
next finds out the rest by itself. Nothing is ever done to a primary's data, nor to a standby's before its source was
reached, is the same system, and has said itself that it no longer has the WAL."""

import json
import os
import time

import pod
import rules
import source
from patroni_api import Problem


def log(event, **fields):
    pod.log("rebuild", event, **fields)


class Rebuild:
    def __init__(self, api):
        self.api = api
        self.gone_since = None
        self.said = None
        self.stalled_since = {}
        self.asked = {}

    def step(self, me, cluster, settings):
        members = cluster.get("members", [])
        leader = next((m for m in members if m.get("role") in rules.LEADER_ROLES), None)
        if leader is None or leader["name"] != me["patroni"]["name"]:
            self.forget()  # not, or no longer, for this pod to decide
            return
        others = [m for m in members if m is not leader]
        # A stream that is refused again and again looks well for moments: what was found to be gone is asked about anew.
        if me["role"] == "standby_leader" and (me.get("replication_state") != "streaming" or self.gone_since is not None):
            self.stalled_since = {}
            self.lead_out(me, leader["name"], others, settings)
            return
        self.gone_since = self.said = None
        self.help_stranded(leader, others, settings)

    def forget(self):
        self.gone_since = self.said = None
        self.stalled_since = {}

    def lead_out(self, me, own, others, settings):
        """The leader of a standby cluster has no stream."""
        needs, standby = rules.needs(me), self.api.get("/config").get("standby_cluster") or {}
        if needs is None or not standby.get("host"):
            self.gone_since = None
            return
        host, port = standby["host"], standby.get("port", 5432)
        answer = source.ask(host, port, needs["system_id"], needs["lsn"], needs["timeline"])
        if answer != self.said:
            log("no stream", source=host, needs=needs["lsn"], timeline=needs["timeline"], **answer)
            self.said = answer
        if answer["verdict"] != "gone":
            self.gone_since = None
            return
        now = time.monotonic()
        self.gone_since = now if self.gone_since is None else self.gone_since
        plan = rules.plan_rebuild(
            {"name": own, "position": needs["position"]}, [self.seen(m) for m in others], now - self.gone_since,
            settings["rebuild_after_seconds"], self.asked, now,
        )
        if plan is None:
            return
        action, name = plan
        if action == "switchover":
            self.post("/switchover", {"leader": own, "candidate": name}, name)
        elif action == "reinitialize":
            self.want_method(standby, settings["clone_method"])
            self.reinitialize(next(m for m in others if m["name"] == name))
        elif not os.path.exists(pod.MARKER) and not rules.rebuilt_lately(
            name, self.asked, settings["rebuild_after_seconds"], now
        ):
            self.asked[name] = now
            self.want_method(standby, settings["clone_method"])
            order = {"host": host, "port": port, "system_id": needs["system_id"]}
            pod.write_whole(pod.MARKER, json.dumps(order))
            log("ordered", member=name, cause="nobody else in the region runs", source=host)

    def help_stranded(self, leader, others, settings):
        """The leader is well: replicas that cannot follow it are copied from it."""
        now = time.monotonic()
        without = {m["name"] for m in others if m.get("state") in ("running", "in archive recovery")}
        self.stalled_since = {name: self.stalled_since.get(name, now) for name in without}
        stalled = {name: now - since for name, since in self.stalled_since.items()}
        name = rules.next_stranded(others, stalled, settings["rebuild_after_seconds"], self.asked, now)
        if name is None:
            return
        member = next(m for m in others if m["name"] == name)
        state = self.api.get("/patroni", self.api.base_of(member))
        needs = rules.needs(state)
        if state.get("replication_state") == "streaming" or needs is None or "host" not in leader:
            return
        port = leader.get("port", 5432)
        answer = source.ask(leader["host"], port, needs["system_id"], needs["lsn"], needs["timeline"])
        if answer["verdict"] == "gone":
            self.reinitialize(member)

    def seen(self, member):
        """State and position of another member, as that says itself."""
        try:
            needs = rules.needs(self.api.get("/patroni", self.api.base_of(member)))
        except (Problem, KeyError):
            needs = None
        return {
            "name": member["name"], "state": member.get("state"), "position": needs["position"] if needs else None,
        }

    def want_method(self, standby, method):
        """Members must be copied by clone.py: whoever set up the standby cluster may not have said so."""
        if method not in (standby.get("create_replica_methods") or []):
            methods = {"standby_cluster": {"create_replica_methods": [method, "basebackup"]}}
            status, _ = self.api.call("PATCH", "/config", methods)
            if status != 200:
                raise Problem(f"PATCH /config answered {status}")

    def reinitialize(self, member):
        self.asked[member["name"]] = time.monotonic()
        self.post("/reinitialize", {"force": False}, member["name"], self.api.base_of(member))

    def post(self, path, body, name, base=pod.PATRONI):
        status, answer = self.api.call("POST", path, body, base=base, timeout=60)
        log(f"POST {path}", member=name, status=status, answer=str(answer)[:200])
