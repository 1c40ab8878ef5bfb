#!/usr/bin/env bash
# Builds this project's program on its own mount, and runs it from there.
. "$(dirname -- "$0")/lib.sh"
require cmake ninja g++ rsync

mkdir -- "$source/checkout"
rsync -a --exclude=/build --exclude=/.git -- "$checkout/" "$source/checkout/"
mount_with loops=2
unset CXXFLAGS LDFLAGS DESTDIR
settings=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0)
# What was compiled before may come from a cache, since the time is bounded; it is read from the
# mount and written to it all the same.
if command -v ccache >/dev/null; then
    settings+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    export CCACHE_BASEDIR=$mnt CCACHE_NOHASHDIR=1 CCACHE_NOHARDLINK=1
fi
cmake -S "$mnt/checkout" -B "$mnt/build" -G Ninja "${settings[@]}" >"$home/configured" ||
    { cat -- "$home/configured"; fail "it cannot be configured"; }
ninja -C "$mnt/build" -j 2 ourofs >"$home/built" ||
    { tail -50 -- "$home/built"; fail "it cannot be built"; }
tail -1 -- "$home/built"
# Times and dependencies survive: nothing is left to do.
[[ $(ninja -C "$mnt/build" -n ourofs) == *"no work to do"* ]] || fail "it would build again"
[[ -n $(find "$source/build" -name '*.o' -print -quit) ]] || fail "the object files are elsewhere"
"$mnt/build/mount-helper/ourofs" -V | tee "$home/version"
grep -q '^ourofs ' "$home/version" || fail "it does not say what it is"
unmount_after ring inline
