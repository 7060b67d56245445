#!/bin/sh
# redis-cli at this node as one of the ACL users, for people: as.sh keeper CLUSTER FORGET <id>
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

user=${1:?name an ACL user}
shift
[ -s "$SECRETS_DIR/$user" ] || fail "no ACL user $user; there are: $(ls "$SECRETS_DIR" | tr '\n' ' ')"
cli_as "$user" "$SECRETS_DIR/$user" "$@"
