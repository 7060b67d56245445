# Shared by the other scripts of a Redis pod; read with ".". Needs CONFIG_DIR, SECRETS_DIR, TLS_DIR, RUN_DIR, REDIS_PORT,
# POD_IP and ANNOUNCED_HOST. Passwords pass through files and the environment of single commands, never through argv.
# shellcheck shell=sh
umask 077

say() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }

fail() {
	say "$*" >&2
	exit 1
}

hash_of() { sha256sum <"$1" | cut -c1-64; }

# One line on each user with the hash of its password, and of the one before, so that those who still have the old one
# are not locked out while a changed Secret reaches one pod after the other.
render_users() {
	mkdir -p "$RUN_DIR/current" "$RUN_DIR/previous"
	echo "user default off" >"$RUN_DIR/users.acl.new"
	while read -r _ user rules; do
		[ -s "$SECRETS_DIR/$user" ] || fail "$SECRETS_DIR/$user: no password for the ACL user $user; is the Secret complete?"
		hash=$(hash_of "$SECRETS_DIR/$user")
		if [ -f "$RUN_DIR/current/$user" ] && [ "$(cat "$RUN_DIR/current/$user")" != "$hash" ]; then
			mv "$RUN_DIR/current/$user" "$RUN_DIR/previous/$user"
		fi
		printf %s "$hash" >"$RUN_DIR/current/$user"
		before=
		[ ! -f "$RUN_DIR/previous/$user" ] || before=" #$(cat "$RUN_DIR/previous/$user")"
		printf 'user %s #%s%s %s\n' "$user" "$hash" "$before" "$rules" >>"$RUN_DIR/users.acl.new"
	done <"$CONFIG_DIR/users.acl"
	mv "$RUN_DIR/users.acl.new" "$RUN_DIR/users.acl"
}

render_config() {
	{
		printf 'include %s/redis.conf\n' "$CONFIG_DIR"
		printf 'aclfile %s/users.acl\n' "$RUN_DIR"
		printf 'masteruser node\nmasterauth %s\n' "$(cat "$SECRETS_DIR/node")"
		printf 'cluster-announce-ip %s\n' "$POD_IP"
		# By which its master names it, for the hand-over before a stop.
		printf 'replica-announce-ip %s\n' "$POD_IP"
		printf 'cluster-announce-hostname %s\n' "$ANNOUNCED_HOST"
	} >"$RUN_DIR/redis.conf.new"
	mv "$RUN_DIR/redis.conf.new" "$RUN_DIR/redis.conf"
}

# What the running server knows by now, for our own connections to it: the mounted files may already be newer. A
# container that restarts finds the files of the one before; each is replaced whole, as probes may be reading it.
keep_credentials() {
	mkdir -p "$RUN_DIR/own"
	for file in "$SECRETS_DIR/node" "$TLS_DIR/tls.crt" "$TLS_DIR/tls.key" "$TLS_DIR/ca.crt"; do
		cat "$file" >"$RUN_DIR/own/.new" && mv -f "$RUN_DIR/own/.new" "$RUN_DIR/own/${file##*/}" || return 1
	done
}

# cli_as USER PASSWORD-FILE ...: redis-cli to this node unless -h says otherwise, for CLI_TIMEOUT seconds at most.
cli_as() {
	user=$1
	file=$2
	shift 2
	REDISCLI_AUTH=$(cat "$file") timeout "${CLI_TIMEOUT:-3}" redis-cli --user "$user" --no-auth-warning \
		--tls --cert "$RUN_DIR/own/tls.crt" --key "$RUN_DIR/own/tls.key" --cacert "$RUN_DIR/own/ca.crt" \
		-h "${REDIS_HOST:-localhost}" -p "$REDIS_PORT" "$@"
}
# As the user "node", with the password that the running server knows.
cli() { cli_as node "$RUN_DIR/own/node" "$@"; }

# Changes when a mounted Secret does.
fingerprint() { cat "$TLS_DIR/tls.crt" "$TLS_DIR/tls.key" "$TLS_DIR/ca.crt" "$SECRETS_DIR"/* | sha256sum; }
