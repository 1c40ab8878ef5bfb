#!/usr/bin/env bash
# Builds this project, the loop and its tests, on its own mount, and runs them there.
. "$(dirname -- "$0")/lib.sh"
require cmake ninja g++ rsync

mkdir -- "$source/checkout"
rsync -a --exclude=/build --exclude=/.git -- "$checkout/" "$source/checkout/"
mount_with loops=2
# Nothing is to come from a cache: the compiler is to work here.
export CCACHE_DISABLE=1
unset CXXFLAGS LDFLAGS DESTDIR
cmake -S "$mnt/checkout" -B "$mnt/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug >"$home/configured" ||
    { cat -- "$home/configured"; fail "it cannot be configured"; }
ninja -C "$mnt/build" -j 2 ouro-loop ouro-loop-tests >"$home/built" ||
    { tail -50 -- "$home/built"; fail "it cannot be built"; }
tail -1 -- "$home/built"
# Times and dependencies survive: nothing is left to do.
[[ $(ninja -C "$mnt/build" -n ouro-loop-tests) == *"no work to do"* ]] || fail "it would build again"
"$mnt/build/tests/unit/loop/ouro-loop-tests" --gtest_brief=1 \
    --gtest_filter='UniqueFd*:Result*:IntrusiveFifo*:BottomHalf*:EventNotifier*:Ring*' |
    tee "$home/tested"
grep -q 'PASSED  *\] [1-9][0-9]* tests' "$home/tested" || fail "no test has run"
unmount_after ring inline
