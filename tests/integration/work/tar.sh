#!/usr/bin/env bash
# A tree with extended attributes, ACLs, links, holes and owners goes through tar into the mount and
# out again, and stays as it was.
. "$(dirname -- "$0")/lib.sh"
require tar rsync setfattr setfacl getfattr getfacl

tree=$home/tree
back=$home/back
mkdir -- "$tree" "$back"
for i in {1..300}; do
    directory=$tree/d$((i % 10))
    mkdir -p -- "$directory"
    head -c $((i * 97)) /dev/urandom >"$directory/f$i"
    chown "$((1000 + i % 5)):$((2000 + i % 3))" "$directory/f$i"
    chmod "0$((i % 8))$((i / 2 % 8))$((i / 3 % 8))" "$directory/f$i"
    touch -d "@$((1500000000 + i)).$((i * 1234567 % 1000000000))" "$directory/f$i"
done
for i in {0..9}; do
    setfattr -n user.text -v "value $i" -- "$tree/d$i"/f*
    setfattr -n user.binary -v 0x000102ff00 -- "$tree/d$i"/f*1*
    setfattr -n trusted.secret -v "$i" -- "$tree/d$i"
    setfacl -m "u:3000:rwx,g:3001:r" -- "$tree/d$i"
    setfacl -d -m "u:3000:rwx,o:-" -- "$tree/d$i"
    ln -- "$tree/d$i/f$((i + 10))" "$tree/hard$i"
    ln -s "d$i/f$i" "$tree/soft$i"
done
mkfifo -- "$tree/fifo"
mknod "$tree/null" c 1 3
truncate -s 64M -- "$tree/hole"
echo end >>"$tree/hole"

mount_with loops=2
pack() { tar --create --xattrs --xattrs-include='*' --acls --sparse --numeric-owner -C "$1" .; }
unpack() {
    tar --extract --xattrs --xattrs-include='*' --acls --same-permissions --numeric-owner -C "$1"
}
pack "$tree" | unpack "$mnt"
pack "$mnt" | unpack "$back"

# The same archive, byte by byte: content, names, modes, owners, times, attributes, ACLs. Names of
# the headers of sparse files would differ by the process id.
archive() {
    local stable=exthdr.name=%d/x/%f,delete=atime,delete=ctime
    tar --create --format=posix --pax-option="$stable" --sort=name --xattrs --xattrs-include='*' \
        --acls --numeric-owner -C "$1" . | sha256sum
}
describe() {
    (
        cd -- "$1"
        find . -print0 | LC_ALL=C sort -z >"$home/names"
        xargs -0 getfattr -dh -m - -e hex -- <"$home/names"
        find . ! -type l -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n --
        # The size of a directory is the file system's own affair.
        find . -type d -printf '%p %y %m %U %G %n %T@\n' -o -printf '%p %y %s %m %U %G %n %T@ %l\n' |
            LC_ALL=C sort
    )
}
describe "$tree" >"$home/expected"
for copy in "$mnt" "$source" "$back"; do
    describe "$copy" >"$home/found"
    diff -- "$home/expected" "$home/found" || fail "$copy differs"
    differences=$(rsync -n -aHAXc --delete -i -- "$tree/" "$copy/")
    [[ -z $differences ]] || fail "$copy differs:"$'\n'"$differences"
done
[[ $(archive "$mnt") == "$(archive "$source")" ]] || fail "the archives differ"
[[ $(du -k "$mnt/hole" | cut -f1) -lt 1024 ]] || fail "the hole has been filled"
unmount_after ring inline
