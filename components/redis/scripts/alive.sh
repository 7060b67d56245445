#!/bin/sh
# Liveness and start: the server answers, be it with an error. It tells nothing of the cluster or of other nodes, as
# restarting this process would heal neither.
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Late is alive too: a machine short of time is no reason to restart, which takes more of it.
reply=$(CLI_TIMEOUT=8 cli ping 2>&1)
case $reply in
*PONG* | *LOADING* | *BUSY* | *NOAUTH* | *WRONGPASS* | *NOPERM* | *MASTERDOWN* | *MISCONF*) exit 0 ;;
*) fail "no answer to PING: $reply" ;;
esac
