/** Runs a command and sends it a signal whenever the content of a file changes: PgBouncer and HAProxy take new
 *  certificates, users and settings that way, without cutting a connection. The kubelet swaps mounted files by renaming
 *  a link, so content is compared and not times.
 *
 *  The command takes this script's place (exec), so that it is the one that gets the container's signals. */
export const RELOAD_ON_CHANGE = `#!/bin/sh
# usage: reload-on-change SIGNAL FILE... -- COMMAND...
set -eu
signal=$1
shift
files=
while [ "$1" != "--" ]; do
  files="$files $1"
  shift
done
shift
# Two files that swap their contents count as a change: names are part of the sum.
sum() {
  sha256sum $files 2>/dev/null
}
seen=$(sum)
(
  while sleep 5 && kill -0 $$ 2>/dev/null; do
    # A file that is missing is about to be replaced: look again later.
    now=$(sum) || continue
    [ "$now" = "$seen" ] && continue
    seen=$now
    echo "mounted files have changed, reloading" >&2
    kill -s "$signal" $$
  done
) &
exec "$@"
`;

/** Whether PgBouncer answers: sends an SSLRequest and expects the `S` of a server that speaks TLS. An open port says
 *  too little, as the kernel accepts connections for a process that hangs. */
export const PGBOUNCER_ALIVE = `#!/bin/bash
# usage: alive PORT
exec 3<>/dev/tcp/127.0.0.1/"$1" || exit 1
printf '\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x2f' >&3
read -r -t 3 -N 1 answer <&3
[ "$answer" = S ]
`;
