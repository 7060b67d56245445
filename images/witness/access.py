"""Brings about who may do what: users, roles, passwords, and that authentication is on. Each pass looks first and
changes only what differs, so members may do it at the same time and be killed in the middle."""

import json
import os
import secrets

import control
import rules

ROOT = "root"
# What tells one founding from another: root's alone, made once by whoever is first. Numbers of clusters and of members
# follow from names, and would be the same again.
GENERATION = "/witness/generation"


def write(path, text):
    """Whole or not at all, and for this user alone."""
    with open(f"{path}.new", "w", encoding="utf-8", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


class Access:
    def __init__(self, config, local, volume, log):
        self._config = config
        self._local = local
        self._log = log
        self._volume = volume
        self._file = f"{volume}/accepted.json"
        self._told = {}

    def fingerprint(self):
        """Changes when a mounted password changes."""
        return json.dumps([self._mounted(user) for user in self._users()])

    def _users(self):
        return [ROOT, *self._config["roles"]]

    def _mounted(self, user):
        name = "root" if user == ROOT else self._config["roles"][user]["passwordFile"]
        with open(f"{self._config['secrets']}/{name}", encoding="utf-8") as file:
            return file.read().strip()

    def _read(self):
        try:
            with open(self._file, encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {"salt": secrets.token_hex(16)}

    def _write(self, state):
        """Root's last good password is kept as it is: only with it can another one be set. It lies beside etcd's
        data, which whoever reads it can open without any password."""
        write(self._file, json.dumps(state))

    def _call(self, *argv, user=None, stdin=""):
        place = (self._local, self._config["tls"], self._config["callTimeoutSeconds"])
        return control.etcdctl(*place, *argv, user=user, stdin=stdin)

    def _tell(self, user, message):
        if self._told.get(user) != message:
            self._told[user] = message
            self._log("password differs" if message else "password agrees again", user=user, message=message)

    def bring_about(self):
        """One pass. Returns whether all is as it should be.

        @raises control.Failed without a majority, or when etcd refuses"""
        state = self._read()
        root = self._root_password(state)
        if root is None:
            return False
        as_root = (ROOT, root)
        self._roles(as_root)
        for user in self._users():
            self._user(user, as_root)
        if not self._call("auth", "status", user=as_root).get("enabled"):
            self._call("auth", "enable", user=as_root)
            self._log("authentication enabled")
        self._remember_generation(as_root)
        # Root's own last: until then its old one counts.
        return all([self._password(user, as_root, state) for user in reversed(self._users())])

    def _root_password(self, state):
        """A password of root that etcd takes, tried before authentication is on as well (etcd then asks for none)."""
        mounted = self._mounted(ROOT)
        try:
            self._call("user", "list", user=(ROOT, mounted))
            return mounted
        except control.Failed as failure:
            if failure.kind != "password":
                raise
        kept = state.get("root")
        if kept is not None and kept != mounted:
            try:
                self._call("user", "list", user=(ROOT, kept))
                return kept
            except control.Failed as failure:
                if failure.kind != "password":
                    raise
        self._tell(ROOT, "secrets.witnessRoot of this region is not the witness's: give every region the same. Nothing was changed")
        return None

    def _remember_generation(self, as_root):
        get = ("get", GENERATION)
        found = control.value(self._call(*get, user=as_root))
        if found is None:
            made = f'create("{GENERATION}") = "0"\n\nput {GENERATION} {secrets.token_hex(16)}\n\n\n'
            self._call("txn", user=as_root, stdin=made)
            found = control.value(self._call(*get, user=as_root))
            if found is None:
                raise control.Failed("the generation was written, and is not there")
        write(f"{self._volume}/generation", found)

    def _roles(self, as_root):
        known = self._call("role", "list", user=as_root).get("roles") or []
        for role, wanted in self._config["roles"].items():
            if role not in known:
                self._once("role", "add", role, user=as_root)
            found = control.permissions(self._call("role", "get", role, user=as_root))
            missing, extra = rules.permission_changes([tuple(grant) for grant in wanted["grants"]], found)
            for kind, prefix in extra:
                key, _, end = prefix.partition("\0")
                if "\0" not in prefix:
                    self._call("role", "revoke-permission", role, key, "--prefix", user=as_root)
                else:
                    self._call("role", "revoke-permission", role, key, *([end] if end else []), user=as_root)
                self._log("permission revoked", role=role, kind=kind, key=key)
            for kind, prefix in missing:
                self._call("role", "grant-permission", role, "--prefix=true", kind, prefix, user=as_root)

    def _user(self, user, as_root):
        known = self._call("user", "list", user=as_root).get("users") or []
        strangers = set(known) - set(self._users())
        if strangers and self._told.get("") != strangers:
            self._told[""] = strangers
            self._log("users that nobody here made", users=sorted(strangers))
        if user not in known:
            self._once("user", "add", user, "--interactive=false", user=as_root, stdin=f"{self._mounted(user)}\n")
        roles = self._call("user", "get", user, user=as_root).get("roles") or []
        if user not in roles:
            self._call("user", "grant-role", user, user, user=as_root)

    def _once(self, *argv, user, stdin=""):
        try:
            self._call(*argv, user=user, stdin=stdin)
        except control.Failed as failure:
            # Another member was faster.
            if "already exists" not in str(failure):
                raise

    def _password(self, user, as_root, state):
        mounted = self._mounted(user)
        accepted = state.get("accepted", {})
        try:
            # Authenticates first, which is what is asked here; every user may list members.
            self._call("member", "list", user=(user, mounted))
            works = True
        except control.Failed as failure:
            if failure.kind != "password":
                raise
            works = False
        step = rules.password_step(accepted.get(user), state["salt"], mounted, works)
        if step == "conflict":
            self._tell(user, f"the password of {user} in this region is not the witness's: another region changed it; give every region the same. Nothing was changed")
            return False
        if step == "set":
            self._call("user", "passwd", user, "--interactive=false", user=as_root, stdin=f"{mounted}\n")
            self._log("password changed", user=user)
        if self._told.get(user):
            self._tell(user, "")
        state["accepted"] = {**accepted, user: rules.fingerprint(state["salt"], mounted)}
        if user == ROOT:
            state["root"] = mounted
        self._write(state)
        return True
