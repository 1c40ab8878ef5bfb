#!/usr/bin/env bash
# The installed loop is found and linked by a project that knows nothing of this tree, through CMake
# and through pkg-config. Usage: package.sh BUILD-TREE
. "$(dirname "$0")/lib.sh"
build=$1
consumer=$(cd -- "$(dirname "$0")/consumer" && pwd -P)

cmake --install "$build" --prefix "$home/prefix" >/dev/null
cmake -S "$consumer" -B "$home/build" -DCMAKE_PREFIX_PATH="$home/prefix" >"$home/log" 2>&1 &&
    cmake --build "$home/build" >>"$home/log" 2>&1 || fail "find_package: $(cat "$home/log")"
[[ $("$home/build/consumer") == "a NOP came back" ]] || fail "what CMake built does not work"

PKG_CONFIG_PATH=$(dirname "$(find "$home/prefix" -name ouro-loop.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046
c++ -o "$home/consumer" $(pkg-config --cflags ouro-loop) "$consumer/main.cpp" \
    $(pkg-config --libs ouro-loop) || fail "pkg-config"
[[ $("$home/consumer") == "a NOP came back" ]] || fail "what pkg-config built does not work"
[[ -z $(find "$home/prefix/include" -path '*examples*') ]] || fail "examples are among the headers"
