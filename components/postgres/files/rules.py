"""Decisions of the reconciler, without any input or output."""

import base64
import hashlib
import hmac

# Top-level keys of the dynamic configuration that are turned at run time by people and by whoever moves the active
# region. They are never written, whatever the desired configuration says.
RUN_TIME_KEYS = frozenset({"standby_cluster", "pause"})

# Where the paths that were written are remembered, inside of the configuration itself: what is no longer desired can
# then be removed, and what somebody else wrote stays. Patroni keeps keys it does not know and does not use them.
MANAGED = "iam_ha_managed"

# How long a member that still needs a restart after it had one is left alone.
RESTART_COOLDOWN_SECONDS = 600


def leaves(config, prefix=()):
    """Flattens nested dictionaries to {path: value}. A replication slot is one value, as its keys belong together."""
    flat = {}
    for key, value in config.items():
        path = prefix + (key,)
        if isinstance(value, dict) and not (len(path) == 2 and path[0] == "slots"):
            flat.update(leaves(value, path))
        else:
            flat[path] = value
    return flat


def lookup(config, path):
    """The value at the path, None where there is none (Patroni knows no null: it means "remove")."""
    for key in path:
        if not isinstance(config, dict) or key not in config:
            return None
        config = config[key]
    return config


def same(desired, live):
    """Patroni takes values for equal whose texts are equal, and would not write the difference."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return all(same(value, live.get(key)) for key, value in desired.items())
    return live is not None and str(desired) == str(live)


def plan_patch(desired, live):
    """What to PATCH so that everything desired is in the live configuration, and what was desired once and no longer is
    goes. None when there is nothing to do."""
    wanted = {path: value for path, value in leaves(desired).items() if path[0] not in RUN_TIME_KEYS | {MANAGED}}
    patch = {}

    def put(path, value):
        node = patch
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value

    for path, value in wanted.items():
        if not same(value, lookup(live, path)):
            put(path, value)
    for text in live.get(MANAGED) or []:
        path = tuple(text.split("/"))
        if path not in wanted and path[0] not in RUN_TIME_KEYS and lookup(live, path) is not None:
            put(path, None)
    managed = sorted("/".join(path) for path in wanted)
    if live.get(MANAGED) != managed:
        patch[MANAGED] = managed
    return patch or None


def next_restart(members, expected, max_lag, restarted, now):
    """Name of the member to restart next, so that parameters take effect that need it; None for nobody now.

    Replicas come first and one at a time, and only while all members are there and well. The leader comes when every
    replica that can be restarted has been: a replica cannot run with less than its primary (connections, WAL senders,
    ...), so where a figure was lowered the replicas need a second restart after the leader's; `restarted` (name: time)
    is to be forgotten then."""
    well = len(members) >= expected and all(
        m.get("state") in ("running", "streaming") and (m.get("role") in LEADER_ROLES or lag_of(m) <= max_lag)
        for m in members
    )
    if not well:
        return None
    pending = sorted(m["name"] for m in members if m.get("pending_restart"))
    leaders = [m["name"] for m in members if m.get("role") in LEADER_ROLES]
    if len(leaders) != 1:
        return None
    due = [name for name in pending if now - restarted.get(name, float("-inf")) >= RESTART_COOLDOWN_SECONDS]
    replicas = [name for name in due if name not in leaders]
    return (replicas or due or [None])[0]


LEADER_ROLES = ("leader", "standby_leader")


def lag_of(member):
    """Bytes a replica is behind; endless where Patroni does not know."""
    lag = member.get("lag", 0)
    return lag if isinstance(lag, int) else float("inf")


def lsn_text(position):
    """Position in the WAL, in bytes, as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def needs(state):
    """What a standby has to be sent next, from what its Patroni says of it (GET /patroni); None while that is unknown."""
    xlog = state.get("xlog") or {}
    position = max(xlog.get("received_location") or 0, xlog.get("replayed_location") or 0)
    timeline, system_id = state.get("timeline"), state.get("database_system_identifier")
    if position == 0 or not timeline or not system_id:
        return None
    return {"position": position, "lsn": lsn_text(position), "timeline": timeline, "system_id": str(system_id)}


def rebuilt_lately(name, asked, after_seconds, now):
    """Whether a member was told to copy itself anew a short while ago: it is left alone then, as its state may not show
    it yet. `asked` is {name: time}; a start of the reconciler forgets it, and with it how long anything has been."""
    return now - asked.get(name, float("-inf")) < PATIENCE * after_seconds


# How many times longer than usual is waited where waiting may help: 120 s for the default of 30.
PATIENCE = 4


def plan_rebuild(me, members, gone_seconds, after_seconds, asked, now):
    """What the leader of a standby cluster does whose source no longer has the WAL that it needs: ("switchover", name),
    ("reinitialize", name), ("self", own name), or None to wait.

    `members` is [{"name", "state", "position"}] of all but the leader: the state as Patroni has it, the position in
    bytes or None. `gone_seconds` is for how long the leader has been without its stream, known to be for ever.

    A member that is ahead of the leader can only have been copied from the source since: it takes over, and the others
    are copied from it in turn. Until then the leader, and every other member that is not being copied, go on serving
    reads. Where no other member runs the leader itself is copied: it waits longer for that, as they may come back."""
    if gone_seconds < after_seconds:
        return None
    running = [m for m in members if m["state"] in RUNNING_STATES and m["position"] is not None]
    ahead = [m for m in running if m["position"] > me["position"]]
    if ahead:
        return ("switchover", max(ahead, key=lambda m: (m["position"], m["name"]))["name"])
    copying = [m["name"] for m in members if m["state"] == "creating replica"]
    lately = [m["name"] for m in members if rebuilt_lately(m["name"], asked, after_seconds, now)]
    if copying or lately:
        return None
    if running:
        return ("reinitialize", min(m["name"] for m in running))
    return ("self", me["name"]) if not members or gone_seconds >= PATIENCE * after_seconds else None


def next_stranded(members, stalled, after_seconds, asked, now):
    """Name of the replica to look at next, as it may need WAL that the leader no longer has; None for nobody.
    `stalled` is {name: seconds without a stream}. One at a time: nobody else is being copied."""
    if any(m.get("state") == "creating replica" for m in members):
        return None
    due = [
        name for name, seconds in stalled.items()
        if seconds >= after_seconds and not rebuilt_lately(name, asked, after_seconds, now)
    ]
    return min(due, default=None)


# Of members that serve reads; those of a server that recovers but has no stream differ with how it was started.
RUNNING_STATES = ("running", "streaming", "in archive recovery")


def scram_verifier(password, salt, iterations=4096):
    """The SCRAM-SHA-256 verifier that PostgreSQL keeps in place of a password (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = lambda data: base64.b64encode(data).decode()  # noqa: E731
    return f"SCRAM-SHA-256${iterations}:{b64(salt)}${b64(stored)}:{b64(server)}"


def scram_matches(verifier, password):
    """Whether the stored verifier is that of the password."""
    try:
        scheme, parameters, _keys = verifier.split("$")
        iterations, salt = parameters.split(":")
        if scheme != "SCRAM-SHA-256":
            return False
        return hmac.compare_digest(scram_verifier(password, base64.b64decode(salt), int(iterations)), verifier)
    except (AttributeError, ValueError):
        return False
