#!/usr/bin/env bash
# rsync of a large tree onto the mount, and a second one, by checksums, that finds nothing to do.
. "$(dirname -- "$0")/lib.sh"
require rsync

kFiles=8000

# The same files on every run; those with hard links, ACLs and attributes are added below.
list_files() {
    cd / && find usr/include usr/share/doc \( -type f -o -type l \) -print | LC_ALL=C sort |
        awk -v limit="$kFiles" 'NR <= limit'
}

tree=$home/tree
mkdir -- "$tree"
list_files >"$home/list"
rsync -a --files-from="$home/list" / "$tree/"
mkdir -- "$tree/special"
for i in {1..50}; do
    echo "$i" >"$tree/special/file$i"
    ln -- "$tree/special/file$i" "$tree/special/link$i"
    chown "$((1000 + i)):$((2000 + i))" "$tree/special/file$i"
    chmod "$((i % 8))$((i % 8))$((i * 3 % 8))" "$tree/special/file$i"
done
if command -v setfattr setfacl >/dev/null; then
    setfattr -n user.name -v value -- "$tree"/special/file1*
    setfacl -m u:1234:rw -- "$tree"/special/file2*
    setfacl -d -m g:1234:rx -- "$tree/special"
fi
mkfifo -- "$tree/special/fifo"
truncate -s 100M -- "$tree/special/hole"

mount_with loops=2
rsync -aHAX -- "$tree/" "$mnt/"
for pair in "$tree $mnt" "$tree $source" "$mnt $tree"; do
    read -r from to <<<"$pair"
    differences=$(rsync -n -aHAXc --delete -i -- "$from/" "$to/")
    [[ -z $differences ]] || fail "$from and $to differ:"$'\n'"$differences"
done
printf '%s files\n' "$(find "$mnt" -type f | wc -l)"
[[ $(find "$mnt" | wc -l) -eq $(find "$tree" | wc -l) ]] || fail "the trees are not of one size"
find "$mnt" -mindepth 1 -delete
[[ -z $(ls -A -- "$source") ]] || fail "something outlived its removal"
unmount_after ring inline
