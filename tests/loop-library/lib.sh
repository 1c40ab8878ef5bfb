# What the scripts of this folder share. Sourced by each of them. Exit code: 0 good, 1 not.
# shellcheck shell=bash
set -euo pipefail

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

home=$(mktemp -d "${TMPDIR:-/tmp}/ouro-loop.XXXXXX")
background=
clean_up() {
    [[ -z $background ]] || kill -KILL "$background" 2>/dev/null || true
    rm -rf -- "$home"
}
trap clean_up EXIT
