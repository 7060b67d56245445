#!/usr/bin/env bash
# Whether a region is as the program says. Leaves in out/ the preview's text, $REGION.txt, and what it came to,
# $REGION.state: none, drift or failed. Exit status 1 for failed alone: drift is a finding, not a fault of the check.
set -euo pipefail
: "${STACK:?name of the stack, organization/project/region}" "${REGION:?name of the region}"
mkdir -p out
status=0
timeout --kill-after=30s "${LIMIT:-25m}" pulumi preview --stack "$STACK" --refresh --diff --expect-no-changes \
  --non-interactive --color never --suppress-outputs --suppress-progress >"out/$REGION.txt" 2>&1 || status=$?
if ((status == 0)); then
  state=none
elif grep --quiet --extended-regexp 'no changes were expected .*but changes were proposed' "out/$REGION.txt"; then
  state=drift
else
  state=failed
fi
echo "$state" >"out/$REGION.state"
cat "out/$REGION.txt"
echo "$REGION: $state"
[[ $state != failed ]]
