"""How a member stands to the others: what they show, whether its data may be used, and how one without data founds the
witness or takes its place in it. rules.py decides; this asks and does."""

import glob
import json
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import control
import rendezvous
import rules
from access import GENERATION, ROOT, write

DATA = os.environ.get("WITNESS_DATA", "/var/lib/etcd")
RUN = os.environ.get("WITNESS_RUN", "/run/witness")
LISTEN = os.environ.get("WITNESS_LISTEN") or ("::" if ":" in os.environ.get("POD_IP", "") else "0.0.0.0")


def log(event, **fields):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": stamp, "component": "witness", "event": event, **fields}), file=sys.stderr, flush=True)


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


class Membership:
    def __init__(self, config):
        self.config = config
        self.region = config["region"]
        self.own = config["members"][self.region]
        self.others = {name: member for name, member in config["members"].items() if name != self.region}
        self.tls = config["tls"]
        self.timeout = config["callTimeoutSeconds"]
        self.stop = threading.Event()
        self.told = None

    def port(self, kind):
        return int(self.own[kind].rsplit(":", 1)[1])

    def tell(self, event, **fields):
        """The same words once."""
        if self.told != (event, fields):
            self.told = (event, fields)
            log(event, **fields)

    def state(self, word):
        # In memory, replaced as a whole: a probe never reads half of it.
        with open(f"{RUN}/state.new", "w", encoding="utf-8") as file:
            file.write(f"{word}\n")
        os.replace(f"{RUN}/state.new", f"{RUN}/state")

    # --- what others say ---------------------------------------------------------------------------------------------

    def each(self, ask):
        """What every other member says, all asked at once."""
        with ThreadPoolExecutor(max_workers=max(1, len(self.others))) as pool:
            return dict(zip(self.others, pool.map(ask, self.others)))

    def views(self):
        """What every other member shows on its peers' port: at once, or not at all."""
        return self.each(lambda name: rendezvous.look(name, self.others[name]["peer"], self.tls, self.timeout))

    def formed(self, views):
        """The members as a majority has them and an endpoint that said so; (None, None) without a majority."""

        def ask(name):
            # etcdctl goes on trying where nobody listens, until its time is up.
            if views[name]["state"] != "member":
                return None
            try:
                return control.members(self.others[name]["client"], self.tls, self.timeout)
            except control.Failed:
                return None

        for name, members in self.each(ask).items():
            if members is not None:
                return members, self.others[name]["client"]
        return None, None

    def as_root(self, endpoint, *argv):
        with open(f"{self.config['secrets']}/root", encoding="utf-8") as file:
            root = (ROOT, file.read().strip())
        return control.etcdctl(endpoint, self.tls, self.timeout, *argv, user=root)

    def own_name_answers(self):
        """Whether etcd runs where our own name leads: it should be we, who wait."""
        return rendezvous.look(self.region, self.own["peer"], self.tls, self.timeout)["state"] == "member"

    # --- a member with an empty volume -------------------------------------------------------------------------------

    def has_data(self):
        return bool(glob.glob(f"{DATA}/data/member/wal/*.wal"))

    def find_place(self):
        """Waits until this member may start, as a founder or in a formed cluster: the flags that say so; None when told
        to stop."""
        # Nothing of a start that was cut off before its first log: it was no member yet.
        shutil.rmtree(f"{DATA}/data", ignore_errors=True)
        waiting = rendezvous.Waiting(self.region, LISTEN, self.port("peer"), self.tls)
        try:
            while not self.stop.is_set():
                self.state("waiting")
                try:
                    flags = self.look_for_place()
                except control.Failed as failure:
                    why = str(failure)
                    if failure.kind == "password":
                        why = "secrets.witnessRoot of this region is not the witness's: give every region the same"
                    self.tell("cannot take its place yet", why=why)
                    flags = None
                if flags is not None:
                    return flags
                self.stop.wait(self.config["pollSeconds"])
            return None
        finally:
            waiting.close()

    def look_for_place(self):
        views = self.views()
        members, endpoint = self.formed(views)
        if members is not None:
            return self.take_place(members, endpoint)
        members = rules.claimed(views, self.own["peer"], read(f"{DATA}/claim"))
        if members is not None:
            return self.joining(members)
        action, why = rules.decide(views, self.config["mayFound"])
        if action == "wait":
            self.tell("waits", why=why, saw={name: view.get("why", view["state"]) for name, view in views.items()})
            return None
        log("founds the witness", why=why)
        everyone = ",".join(f"{name}={member['peer']}" for name, member in self.config["members"].items())
        return ["--initial-cluster-state=new", f"--initial-cluster={everyone}"]

    def take_place(self, members, endpoint):
        step, what = rules.next_step(members, self.own["peer"], read(f"{DATA}/claim"), self.own_name_answers())
        if step == "wait":
            self.tell("waits", why=what)
            return None
        if step == "remove":
            log("removes its forgotten entry", member=what, at=endpoint)
            self.as_root(endpoint, "member", "remove", what)
            return None
        if step == "add":
            added = self.as_root(endpoint, "member", "add", self.region, f"--peer-urls={self.own['peer']}")
            what = f"{added['member']['ID']:x}"
            write(f"{DATA}/claim", what)
            log("added", member=what, at=endpoint)
            # The list as a majority has it now, and not as it was before.
            members = control.members(endpoint, self.tls, self.timeout)
        return self.joining(members)

    def joining(self, members):
        return [
            "--initial-cluster-state=existing",
            f"--initial-cluster={rules.initial_cluster(members, self.own['peer'], self.region)}",
        ]

    def set_aside(self, why):
        """Keeps the data once, beside, and starts from nothing."""
        log("its data is set aside and it joins anew", why=why, kept=f"{DATA}/aside")
        shutil.rmtree(f"{DATA}/aside", ignore_errors=True)
        for name in ("claim", "member", "generation"):
            if os.path.exists(f"{DATA}/{name}"):
                os.unlink(f"{DATA}/{name}")
        os.replace(f"{DATA}/data", f"{DATA}/aside")

    def fit(self):
        """Whether etcd may start with the data that is there. A majority of the others may know better: that this member
        was removed (it joins anew), or nothing of all it holds (it waits for a person).

        @raises control.Failed when the majority that answered is gone again"""
        mine, generation = read(f"{DATA}/member"), read(f"{DATA}/generation")
        members, endpoint = self.formed(self.views())
        if members is None:
            return True
        if generation and generation != control.value(self.as_root(endpoint, "get", GENERATION)):
            self.tell(
                "does not start",
                why="the other regions have founded another witness, without the data that is here: docs/witness.md "
                "says what to do. Nothing was changed",
            )
            return False
        if mine and all(member["id"] != mine for member in members):
            self.set_aside("a majority does not know this member any more")
        return True

    def may_start(self):
        try:
            return self.fit()
        except control.Failed as failure:
            if failure.kind == "password":
                # It was a member, and a password that differs is no sign of another witness.
                return True
            self.tell("cannot tell yet whether its data fits", why=str(failure))
            return False
