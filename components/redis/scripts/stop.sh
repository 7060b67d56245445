#!/bin/sh
# Before the order to stop: a master hands its slots to its most advanced replica. CLUSTER FAILOVER loses nothing: the
# master holds writes back until the replica has all of them. Nothing is handed over when no replica is in contact.
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Into the log of the container, as nobody sees the output of a hook; the same words once.
told=
tell() {
	[ "$*" != "$told" ] || return 0
	told=$*
	if [ -w /proc/1/fd/1 ]; then say "hand-over: $*" >/proc/1/fd/1; else say "hand-over: $*"; fi
}

end=$(($(date +%s) + ${HANDOVER_SECONDS:-10}))
asked=0
while [ "$(date +%s)" -lt "$end" ]; do
	state=$(cli info replication 2>/dev/null | tr -d '\r')
	case $state in
	*role:slave*)
		[ "$asked" = 0 ] || tell "the replica has taken over"
		exit 0
		;;
	*role:master*) ;;
	*)
		tell "the server does not answer"
		exit 0
		;;
	esac
	# slave0:ip=10.0.0.7,port=6379,state=online,offset=4242,lag=0: the address of the one with the highest offset
	address=$(printf '%s\n' "$state" |
		sed -n 's/^slave[0-9]*:ip=\([^,]*\),port=\([0-9]*\),state=online,offset=\([0-9]*\),.*/\3 \1 \2/p' |
		sort -n | tail -n 1 | cut -d ' ' -f 2-)
	if [ -z "$address" ]; then
		tell "no replica is in contact; the slots wait for this node's return or for an election"
		exit 0
	fi
	if [ "$asked" = 0 ]; then
		reply=$(cli -h "${address% *}" -p "${address#* }" cluster failover 2>&1)
		tell "asked ${address% *} to take over: $reply"
		[ "$reply" != "OK" ] || asked=1
	fi
	sleep 0.2
done
tell "no take-over within ${HANDOVER_SECONDS:-10} s"
