#!/bin/sh
# Readiness: data loaded, the cluster works as seen from here, and this node has its place in it: a master with slots or
# a replica in contact with its master. A rolling update goes on to the next node only then.
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# One connection for all: setting up TLS is the dear part of a probe.
state=$(printf 'INFO persistence\nINFO replication\nCLUSTER INFO\nCLUSTER NODES\n' | cli 2>&1 | tr -d '\r')

says() {
	printf '%s\n' "$state" | grep -q -x "$1"
}

says "loading:0" || fail "not loaded: $(printf '%s' "$state" | head -c 120)"
says "cluster_state:ok" || fail "cluster_state is not ok"
says "cluster_slots_assigned:16384" || fail "not all slots are assigned"
if says "role:slave"; then
	says "master_link_status:up" || fail "the link to the master is down"
else
	# The line of this node, with its slots from the ninth word on.
	says "[^ ]* [^ ]* myself,master [^ ]* [^ ]* [^ ]* [^ ]* [^ ]* [0-9].*" || fail "a master without slots: not yet a replica"
fi
