#!/bin/sh
# Runs beside the server, whose process id it is given, and hands renewed certificates and passwords to it, without a
# restart.
set -u
server=$1
here=$(dirname "$0")
# shellcheck source=lib.sh
. "$here/lib.sh"

answered_ok() { [ "$1" = "OK" ] || { say "reload: $2 failed: $1" >&2; return 1; }; }

# Passwords first: the server then takes both old and new ones, so whatever comes next can fail and be tried again.
apply() {
	# In a subshell: what fails there must not end this loop.
	(render_users && render_config) || return 1
	answered_ok "$(cli acl load 2>&1)" "ACL LOAD" || return 1
	answered_ok "$(cli config set tls-cert-file "$TLS_DIR/tls.crt" tls-key-file "$TLS_DIR/tls.key" \
		tls-ca-cert-file "$TLS_DIR/ca.crt" 2>&1)" "taking the certificate" || return 1
	keep_credentials || return 1
	answered_ok "$(cli -x config set masterauth <"$SECRETS_DIR/node" 2>&1)" "taking the replication password" || return 1
	say "reload: took renewed certificates and passwords"
}

seen=$(fingerprint)
while kill -0 "$server" 2>/dev/null; do
	sleep "${RELOAD_SECONDS:-30}"
	now=$(fingerprint)
	[ "$now" != "$seen" ] || continue
	# The files of a volume change together, but not those of two volumes: take them once they are at rest.
	sleep 1
	[ "$now" = "$(fingerprint)" ] || continue
	if apply; then seen=$now; fi
done
