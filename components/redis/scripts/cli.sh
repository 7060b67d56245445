#!/bin/sh
# redis-cli at this node, as the user "node", for people and for the status board: cli.sh CLUSTER NODES
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cli "$@"
