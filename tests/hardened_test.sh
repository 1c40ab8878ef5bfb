#!/usr/bin/env bash
# That the program is built so as to make faults of memory hard to use. Usage: hardened_test.sh PROGRAM
set -euo pipefail
program=$1
failed=0

# expect WHAT PATTERN [readelf option...]
expect() {
    local said
    said=$(readelf --wide "${@:3}" -- "$program")
    grep -qE -- "$2" <<<"$said" && return
    echo "$program is not built with $1" >&2
    failed=1
}

expect 'an address that changes (PIE)' 'Type: +DYN' --file-header
expect 'read-only relocations' 'GNU_RELRO' --program-headers
expect 'all of them done at start' 'FLAGS_1.* NOW' --dynamic
expect 'a stack that is not executable' 'GNU_STACK .* RW ' --program-headers
expect 'guarded stacks' '__stack_chk_fail' --dyn-syms
expect '_FORTIFY_SOURCE' '__[a-z]+_chk(@| |$)' --dyn-syms
exit $failed
