#!/usr/bin/env bash
# The example file copier copies, in the ways in which that can be cut up, and says what is wrong.
# Usage: copy.sh OURO-FILE-COPY
. "$(dirname "$0")/lib.sh"
copy=$1

head -c 5000001 /dev/urandom >"$home/source"
for options in "" "--depth=1" "--depth=64 --block=4096" "--block=33333333"; do
    # shellcheck disable=SC2086
    "$copy" --quiet $options "$home/source" "$home/target" || fail "copying with '$options'"
    cmp "$home/source" "$home/target" || fail "the copy with '$options' differs"
done
"$copy" "$home/source" "$home/target" 2>"$home/bar"
grep -q '\[#\{50\}\] 100 %' "$home/bar" || fail "no progress bar: $(cat "$home/bar")"

: >"$home/empty"
"$copy" --quiet "$home/empty" "$home/target" && [[ ! -s $home/target ]] || fail "an empty file"

status=0
"$copy" --quiet "$home/none" "$home/target" 2>"$home/error" || status=$?
[[ $status -eq 2 ]] || fail "a missing source gives $status"
grep -q "cannot copy '.*none': No such file or directory" "$home/error" || fail "$(cat "$home/error")"
status=0
"$copy" --quiet "$home/source" "$home/source" 2>/dev/null || status=$?
[[ $status -eq 2 && -s $home/source ]] || fail "copying onto itself gives $status"
status=0
"$copy" --depth=0 "$home/source" "$home/target" 2>/dev/null || status=$?
[[ $status -eq 1 ]] || fail "a bad option gives $status"
