#!/usr/bin/env bash
# A history that git makes, clones, packs and checks on the mount, with the metadata on the ring.
. "$(dirname -- "$0")/lib.sh"
require git

commits=200
[[ $size == full ]] || commits=25

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org
export GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example.org

# 200 commits on a branch and a merge, each of which changes a few of many files.
make_history() {
    git init -q -b main "$1"
    local i
    for ((i = 0; i < commits; ++i)); do
        mkdir -p -- "$1/d$((i % 7))/e$((i % 3))"
        seq "$i" $((i + 500)) >"$1/d$((i % 7))/e$((i % 3))/f$((i % 40))"
        echo "$i" >>"$1/log"
        git -C "$1" add -A
        git -C "$1" commit -q -m "commit $i"
        [[ $i -ne $((commits / 2)) ]] || git -C "$1" branch side
    done
    git -C "$1" checkout -q side
    echo side >"$1/side"
    git -C "$1" add -A
    git -C "$1" commit -q -m side
    git -C "$1" merge -q -m merge main
}

mount_with metadata=nested
make_history "$mnt/made"
git -C "$mnt/made" fsck --full --strict
# Through the transport, so that everything is unpacked and packed anew.
git clone -q "file://$mnt/made" "$mnt/clone"
git -C "$mnt/clone" fsck --full --strict
[[ $(git -C "$mnt/clone" rev-list --count HEAD) -eq $((commits + 2)) ]] || fail "commits are missing"
[[ -z $(git -C "$mnt/clone" status --porcelain) ]] || fail "the clone is not clean"
git -C "$mnt/made" gc -q --aggressive --prune=now
git -C "$mnt/made" fsck --full --strict
# A second look, natively: what was written is what is there.
git -C "$source/made" -c safe.directory='*' fsck --full --strict
diff -r --exclude=.git -- "$mnt/clone" "$source/made"
if [[ -d $checkout/.git && $size == full ]]; then
    git -c safe.directory='*' clone -q --no-local "$checkout" "$mnt/checkout"
    git -C "$mnt/checkout" fsck --full
fi
unmount_after ring nested
