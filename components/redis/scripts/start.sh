#!/bin/sh
# Starts the Redis node: writes its complete configuration into memory and becomes redis-server.
set -eu
here=$(dirname "$0")
# shellcheck source=lib.sh
. "$here/lib.sh"

for name in POD_IP ANNOUNCED_HOST REDIS_PORT; do
	eval "value=\${$name:-}"
	[ -n "$value" ] || fail "the environment variable $name is empty; the pod's template must set it"
done
for file in "$CONFIG_DIR/redis.conf" "$CONFIG_DIR/users.acl" "$TLS_DIR/tls.crt" "$TLS_DIR/tls.key" "$TLS_DIR/ca.crt"; do
	[ -s "$file" ] || fail "$file is missing or empty; are the ConfigMap and the TLS Secret of Redis complete?"
done

render_users
render_config
keep_credentials || fail "cannot write to $RUN_DIR/own"
sh "$here/reload.sh" $$ &
exec redis-server "$RUN_DIR/redis.conf"
