"""Decisions of a member of the witness, without any input or output.

A view is what one other member showed: {"state": "unreachable"}, {"state": "empty"} (its volume holds nothing and it
waits as we do) or {"state": "member", "formed": …, "members": […]} (etcd runs there; whether the cluster it knows ever
had a majority; the list as this one member has it).
A member is an entry of etcd's own list: {"id", "peer", "name", "started"}."""

import hashlib
import re

# What etcd 3.5 says of data that cannot be used any more, and of nothing else: a full disk or a missing certificate
# must never cost a member its data.
UNUSABLE = re.compile(
    r"crc mismatch|walpb: crc|wal: (slice|max entry|file not found|unexpected)|invalid database|checksum error"
    r"|file size too small|unexpected fault address|database file .*corrupt|data corruption|failed to recover v3 backend|failed to find (database )?snapshot"
    r"|snap: (empty|crc)|tocommit\(\d+\) is out of range|wal: .*corrupt|unexpected EOF.*wal|page \d+ already freed|reachable pages"
    r"|version mismatch|failed to unmarshal.*(wal|snapshot)|WAL.*(broken|corrupt)",
    re.IGNORECASE,
)


def decide(views, may_found):
    """What a member with an empty volume does when no other member has a quorum: ("found" or "wait", why).

    An emptied member that came back under its old number could have forgotten a vote it gave or an entry it
    confirmed, and an entry may live in two memories only. So it starts as a founder only where no cluster was formed as
    far as anybody can tell, and where so many can tell that together they are a majority."""
    formed = [name for name, view in views.items() if view.get("formed")]
    if formed:
        return "wait", f"a formed witness is known to {listed(formed)}: it is joined as soon as a majority of it answers"
    answering = [name for name, view in views.items() if view["state"] != "unreachable"]
    if len(answering) + 1 < (len(views) + 1) // 2 + 1:
        silent = [name for name in views if name not in answering]
        return "wait", f"no majority can be founded until one of {listed(silent)} answers"
    if not may_found:
        return "wait", "founding is switched off (witness.mayFound is false) and no formed witness with a majority answers"
    return "found", f"with {listed(answering)}" if answering else "the only member"


def claimed(views, own_peer, claim):
    """The list in which somebody knows the entry that we added and never started; None without one. Such an entry needs
    no majority to start, and a majority may be what it is missed for: one member and we make two."""
    for view in views.values():
        for member in view.get("members", []):
            if member["peer"] == own_peer and claim is not None and member["id"] == claim:
                return view["members"]
    return None


def next_step(members, own_peer, claim, own_name_answers):
    """How a member with an empty volume takes its place in a formed cluster, one step at a time: ("start", id),
    ("remove", id), ("add", None) or ("wait", why).

    An entry that we added ourselves and that never started is used; any other entry of ours is replaced, because what
    it confirmed is forgotten. A step leaves the members that run in the majority; etcd itself refuses all others."""
    own = [member for member in members if member["peer"] == own_peer]
    others = [member for member in members if member["peer"] != own_peer]
    unstarted = [member["name"] or member["peer"] for member in others if not member["started"]]
    if own and not own[0]["started"] and claim == own[0]["id"]:
        return "start", own[0]["id"]
    if own_name_answers:
        return "wait", "another etcd answers under the name of this region: two clusters cannot both be this region"
    if own:
        return "remove", own[0]["id"]
    if unstarted:
        return "wait", f"{listed(unstarted)} was added and has not started: one at a time"
    return "add", None


def initial_cluster(members, own_peer, own_name):
    """etcd's --initial-cluster for a member that joins: exactly the list as it is now, names that are not known yet
    made up, as etcd compares addresses only."""
    name = lambda m: own_name if m["peer"] == own_peer else m["name"] or f"member-{m['id']}"
    return ",".join(f"{name(member)}={member['peer']}" for member in members)


def unusable(lines):
    """The line that says that the data cannot be used any more; None when there is none."""
    return next((line for line in lines if UNUSABLE.search(line)), None)


def fingerprint(salt, password):
    return hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()


def password_step(accepted, salt, password, works):
    """What to do about one user's password: "keep" (it works), "set" (this region's was changed) or "conflict": it
    was changed by another region, or this region never had the right one. Nothing is overwritten then."""
    if works:
        return "keep"
    if accepted is not None and accepted != fingerprint(salt, password):
        return "set"
    return "conflict"


def permission_changes(wanted, found):
    """Grants that are missing and those that are too many; each is (type, prefix)."""
    wanted, found = set(wanted), set(found)
    return sorted(wanted - found), sorted(found - wanted)


def pause(failures):
    """Seconds before etcd is started again after so many failures in a row: 1, 2, 4 … 30."""
    return min(30, 2 ** max(0, failures - 1))


def listed(names):
    return " and ".join(sorted(names)) if names else "nobody"
