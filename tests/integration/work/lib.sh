# What the scripts of real work share: a mount of their own, and the proof of its mode.
# Sourced by each of them, as its first act: . "$(dirname "$0")/lib.sh"
# Usage of every script: NAME.sh OUROFS CHECKOUT [small]
# Exit code: 0 good, 1 not, 77 skipped with the reason on stdout.
# shellcheck shell=bash
set -euo pipefail

kSkipped=77

skip() {
    printf 'skipped: %s\n' "$*"
    exit "$kSkipped"
}

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# require PROGRAM...: skips without one of them.
require() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "there is no $program"
    done
}

[[ $# -ge 2 ]] || fail "usage: $0 OUROFS CHECKOUT [small]"
ourofs=$1
checkout=$2
size=${3:-full}

[[ $EUID -eq 0 ]] || skip "needs root"
PATH=$PATH:/usr/sbin:/sbin
# Whatever happens, nothing of it outlives or is seen outside of these namespaces.
if [[ -z ${OURO_WORK_ISOLATED-} ]]; then
    require unshare
    export OURO_WORK_ISOLATED=1
    exec unshare --mount --pid --kill-child --mount-proc -- "$BASH" "$0" "$@"
fi

home=$(mktemp -d "${TMPDIR:-/tmp}/ouro-work.XXXXXX")
source=$home/source
mnt=$home/mnt
log=$home/log
daemon=
mkdir -- "$source" "$mnt"

is_mounted() { mountpoint -q -- "$mnt"; }

clean_up() {
    local status=$?
    trap - EXIT
    cd /
    if [[ $status -ne 0 && $status -ne $kSkipped && -s $log ]]; then
        printf 'ourofs said:\n' >&2
        cat -- "$log" >&2
    fi
    ! is_mounted || umount -l -- "$mnt" || true
    if [[ -n $daemon ]]; then
        kill -KILL "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    is_mounted || rm -rf --one-file-system -- "$home"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# mount_with OPTIONS: serves $source at $mnt, and returns when it does.
mount_with() {
    : >"$log"
    "$ourofs" -f -o "$1" "$source" "$mnt" >"$log" 2>&1 &
    daemon=$!
    local attempt
    for ((attempt = 0; attempt < 400; ++attempt)); do
        ! grep -q '^ourofs: serving ' "$log" || return 0
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.05
    done
    fail "ourofs does not serve"
}

# sum COUNTER: over the loops, from the statistics of the end.
sum() {
    grep '^ourofs: statistics: ' "$log" | tr ' ' '\n' |
        awk -F= -v name="$1" '$1 == name { total += $2 } END { print total + 0 }'
}

expect() {
    local left right
    left=$(sum "$1")
    right=$3
    [[ $right =~ ^[0-9]+$ ]] || right=$(sum "$right")
    test "$left" "$2" "$right" || fail "not so: $1 ($left) $2 $3 ($right)"
}

# The mode that was active, by counters taken where completions are reaped.
expect_mode() {
    local backing=$1 metadata=$2
    grep -q "^ourofs: serving .* backing=$backing metadata=$metadata " "$log" ||
        fail "it does not say backing=$backing metadata=$metadata"
    if [[ $backing == kernel ]]; then
        expect kernel_opens -gt 0
        expect kernel_other_opens -eq 0
    elif [[ $backing == ring ]]; then
        expect inline_data -eq 0
        expect cqe.read -ge request.READ
        expect cqe.fsync -ge request.FSYNC
        expect cqe.write -gt request.WRITE
    else
        expect cqe.read -eq 0
        expect inline_data -ge request.WRITE
    fi
    if [[ $metadata == nested ]]; then
        expect nested_waits -gt 0
        expect cqe.openat2 -gt 0
        expect cqe.statx -gt 0
    else
        expect nested_waits -eq 0
        expect cqe.openat2 -eq 0
        expect cqe.statx -eq 0
    fi
    [[ $backing == kernel ]] || expect request.WRITE -gt 0
}

# unmount_after BACKING METADATA: ends the mount, which must have been in that mode, have ended well
# and have had nothing to complain of.
unmount_after() {
    cd /
    umount -- "$mnt"
    local status=0
    wait "$daemon" || status=$?
    daemon=
    [[ $status -eq 0 ]] || fail "ourofs ended with $status"
    ! grep -vE '^ourofs: (serving|statistics:|sandbox:) ' "$log" || fail "ourofs said what it should not"
    expect_mode "$1" "$2"
    grep -o 'request\.[A-Z0-9_]*=[0-9]*' "$log" | awk -F= '
        { count[$1] += $2 } END { for (name in count) printf "%s=%d ", name, count[name]; print "" }'
}
