"""In which state the page caches are when a run begins."""

import os
import pathlib

CHUNK = 1 << 20


def prime(paths):
    """Reads files to the end."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(CHUNK):
                pass


def settle(paths):
    """Has written back what was written, so that it is not done during the next run."""
    for path in paths:
        fd = os.open(path, os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def forget(paths):
    """Drops the clean pages of these files, and of no others."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def drop():
    """Empties the caches of the whole machine: pages, names and inodes. Root only."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
