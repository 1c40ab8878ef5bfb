#!/usr/bin/env bash
# The documentation of the loop builds without a warning. Usage: doxygen.sh CHECKOUT
# Exit code 77: there is no doxygen.
. "$(dirname "$0")/lib.sh"
cd -- "$1"
command -v doxygen >/dev/null || { echo "skipped: there is no doxygen"; exit 77; }

{ cat docs/doxygen/Doxyfile; echo "OUTPUT_DIRECTORY = $home"; } | doxygen - >"$home/log" 2>&1 ||
    fail "$(cat "$home/log")"
! grep -n 'warning:' "$home/log" || fail "warnings"
grep -q 'Puts one SQE on the ring' "$home/html/classouro_1_1loop_1_1AioContext.html" ||
    fail "the comments of AioContext are not in its page"
