#!/bin/bash
# The same history written twice gives the same image, byte for byte, and the image is whole: what tools/ports.sh shows across
# machines, on this one. Usage: test_history.sh PORT_IMAGE
set -euo pipefail

IMAGE=$1 SEED=${WODAN_SEED:-7}
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
echo "replay with WODAN_SEED=$SEED"
for shape in tiny pages; do
  for round in 0 1; do
    "$IMAGE" write "$FOLDER/one" "$shape" "$SEED" "$round"
    "$IMAGE" write "$FOLDER/two" "$shape" "$SEED" "$round"
    cmp "$FOLDER/one" "$FOLDER/two"
    "$IMAGE" check "$FOLDER/one" "$shape" "$SEED" $((round + 1))
  done
  # The check sees a history that is not the image's.
  if "$IMAGE" check "$FOLDER/one" "$shape" $((SEED + 1)) 2 2>/dev/null; then
    echo "the check took the image of another seed for right" >&2
    exit 1
  fi
done
