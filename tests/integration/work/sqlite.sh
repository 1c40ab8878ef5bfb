#!/usr/bin/env bash
# SQLite in WAL mode, whose index is shared memory: several processes write and read one database on
# the mount, one of them is killed now and then, and the database is sound and complete. By the ring,
# and with the files in the hands of the kernel.
. "$(dirname -- "$0")/lib.sh"
require python3
python3 -c 'import sqlite3' 2>/dev/null || skip "python3 has no sqlite3"

here=$(cd -- "$(dirname -- "$0")" && pwd)
transactions=150
[[ $size == full ]] || transactions=25
for backing in ring kernel; do
    mount_with "backing=$backing,loops=2"
    python3 "$here/sqlite.py" "$mnt/database" 4 "$transactions"
    # Natively, and without the mount's memory of it.
    python3 - "$source/database" <<'PYTHON'
import sqlite3, sys
found = sqlite3.connect(sys.argv[1]).execute("pragma integrity_check").fetchall()
sys.exit(0 if found == [("ok",)] else f"natively: {found}")
PYTHON
    unmount_after "$backing" inline
    rm -f -- "$source"/database*
done
