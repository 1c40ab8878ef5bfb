#!/bin/sh
# The rooms of the house depend on each other one way only: loop <- passthrough <- fs <-
# mount-helper. Reads every #include. Usage: rooms_test.sh CHECKOUT
set -u
cd "$1" || exit 2
status=0

# forbid ROOM PATTERN: no file of ROOM includes what matches PATTERN.
forbid() {
  if grep -rnE "^ *# *include *[<\"]($2)" "$1" --include='*.hpp' --include='*.cpp'; then
    echo "error: $1 must not include the above"
    status=1
  fi
}

forbid loop 'passthrough/|fs/|mount-helper/|tests/|fuse|linux/fuse|spdlog'
forbid passthrough 'fs/|mount-helper/|tests/|fuse|linux/fuse|spdlog'
forbid fs 'mount-helper/|tests/|fuse|spdlog'
forbid mount-helper 'tests/'

# A test that finds nothing to read proves nothing.
for room in loop passthrough fs mount-helper; do
  count=$(find "$room" -name '*.hpp' | wc -l)
  if [ "$count" -lt 5 ]; then
    echo "error: only $count headers in $room"
    status=1
  fi
done
exit $status
