#!/usr/bin/env bash
# fio writes at random with checksums in every block, and verifies them: by system calls and by
# io_uring, through the page cache and around it.
. "$(dirname -- "$0")/lib.sh"
require fio

# run NAME [options]
run() {
    local name=$1
    shift
    fio --name="$name" --directory="$mnt" --rw=randrw --rwmixread=30 --bsrange=4k-128k --size=24m \
        --numjobs=2 --verify=crc32c --verify_fatal=1 --verify_backlog=64 --verify_state_save=0 \
        --do_verify=1 --randseed=20240501 --end_fsync=1 --group_reporting --output-format=terse \
        --terse-version=3 "$@" >"$home/fio" 2>&1 || { cat -- "$home/fio"; fail "$name"; }
    # Its third and fifth fields are the job and the sum of its errors.
    awk -F';' '$1 == 3 && $5 == 0 { good = 1 } END { exit !good }' "$home/fio" ||
        { cat -- "$home/fio"; fail "$name: errors"; }
    printf '%s: verified\n' "$name"
}
for backing in ring inline kernel; do
    mount_with "backing=$backing"
    run psync --ioengine=psync
    run psync-fsync --ioengine=psync --fsync=16 --size=8m
    run psync-direct --ioengine=psync --direct=1
    run mmap --ioengine=mmap --size=8m
    if fio --enghelp 2>/dev/null | grep -q io_uring; then
        run uring --ioengine=io_uring --iodepth=16
        run uring-direct --ioengine=io_uring --iodepth=16 --direct=1
    else
        echo "skipped: this fio has no io_uring"
    fi
    unmount_after "$backing" inline
done
