#!/usr/bin/env python3
"""How long others wait while some operations of the source hang: hanging.py OUROFS [--seconds S]

Mounts a small ext4 by one loop in each metadata mode, lets eight clients hang (in a frozen file
system, or in an opening that waits for a fanotify listener), and measures what another client waits
for stat() and for open(), read(), close() of a known file. As root; all is undone at the end.
"""

import argparse
import ctypes
import fcntl
import json
import os
import pathlib
import signal
import shutil
import statistics
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from ourofs_compare import columns, mounts, processes  # pylint: disable=wrong-import-position
from ourofs_compare.failure import Failure  # pylint: disable=wrong-import-position

HANGING = 8
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_OPEN_PERM, FAN_ALLOW = 0x4, 0x1, 0x10000, 0x1
EVENT = struct.Struct("=IBBHQii")  # fanotify_event_metadata
LIBC = ctypes.CDLL(None, use_errno=True)


def in_child(body):
    """The pid of a child that runs `body`."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            body()
        finally:
            os._exit(0)
    return pid


class Nothing:
    """Nobody hangs."""

    name = "nothing"

    def __init__(self, source):
        del source

    def hang(self, mountpoint, number):
        del mountpoint, number

    def end(self):
        pass


class Frozen:
    """Who makes a directory in a frozen file system."""

    name = "frozen"

    def __init__(self, source):
        self.root = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(self.root, FIFREEZE, 0)

    def hang(self, mountpoint, number):
        os.mkdir(mountpoint / f"d{number}" / "new")

    def end(self):
        fcntl.ioctl(self.root, FITHAW, 0)
        os.close(self.root)


class Held:
    """Who opens a file for which a listener has to give permission."""

    name = "held opening"

    def __init__(self, source):
        self.listener = LIBC.fanotify_init(FAN_CLASS_CONTENT, os.O_RDONLY)
        path = os.fsencode(source / "held")
        if self.listener < 0 or LIBC.fanotify_mark(
                self.listener, FAN_MARK_ADD, ctypes.c_uint64(FAN_OPEN_PERM), -100, path) < 0:
            raise OSError(ctypes.get_errno(), "no permission events")

    def hang(self, mountpoint, number):
        del number
        os.close(os.open(mountpoint / "held", os.O_RDONLY))

    def end(self):
        os.set_blocking(self.listener, False)
        begun = time.monotonic()
        while time.monotonic() < begun + 1:
            try:
                events = os.read(self.listener, 4096)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            for (*_, fd, _pid) in EVENT.iter_unpack(events):
                os.write(self.listener, struct.pack("=iI", fd, FAN_ALLOW))
                os.close(fd)
        os.close(self.listener)


def measure(mountpoint, seconds, results):
    """Writes the latencies of each kind of call to `results`, in microseconds."""

    def timed(kind, call):
        begun = time.monotonic_ns()
        call()
        latencies[kind].append((time.monotonic_ns() - begun) / 1000)

    def read_all():
        fd = os.open(mountpoint / "known", os.O_RDONLY)
        os.read(fd, 100)
        os.close(fd)

    latencies = {"stat": [], "open": []}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        timed("stat", lambda: os.lstat(mountpoint / "known"))
        timed("open", read_all)
        time.sleep(0.0005)
    results.write_text(json.dumps(latencies))


def one(home, ourofs, options, obstacle_type, seconds):
    """The latencies of the client that does not hang."""
    source, place = home / "source", home / "place"
    column = columns.ours(f"loops=1,attr_timeout=0,entry_timeout=0,{options}")
    mounted = mounts.mount(column, source, place, ourofs)
    os.lstat(mounted.path / "known")
    results = place / "results.json"
    obstacle = obstacle_type(source)
    children = [in_child(lambda number=number: obstacle.hang(mounted.path, number))
                for number in range(HANGING)]
    time.sleep(0.2)
    meter = in_child(lambda: measure(mounted.path, seconds, results))
    time.sleep(seconds + 0.2)
    obstacle.end()
    for pid in (*children, meter):
        os.waitpid(pid, 0)
    for number in range(HANGING):
        made = source / f"d{number}" / "new"
        if made.exists():
            made.rmdir()
    mounted.end()
    mounted.prove()
    found = json.loads(results.read_text())
    shutil.rmtree(place)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("ourofs", type=os.path.abspath)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("hanging.py: only root can freeze a file system")
    if LIBC.unshare(0x00020000) != 0:  # CLONE_NEWNS
        sys.exit("hanging.py: cannot have a mount namespace of its own")
    processes.run("mount", "--make-rprivate", "/")
    print("| hangs | options | stat p50 | p99 | longest, ms | open p50 | p99 | longest, ms |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        home = pathlib.Path(name)
        (home / "source").mkdir()
        with open(home / "image", "wb") as image:
            image.truncate(64 << 20)
        processes.run("mkfs.ext4", "-q", home / "image")
        processes.run("mount", "-o", "loop", home / "image", home / "source")
        for file in ("known", "held"):
            (home / "source" / file).write_text("content")
        for number in range(HANGING):
            (home / "source" / f"d{number}").mkdir()
        try:
            for obstacle in (Nothing, Frozen, Held):
                for transport in ("dev", "ring"):
                    for metadata in ("inline", "nested", "auto"):
                        options = f"transport={transport},metadata={metadata}"
                        found = one(home, arguments.ourofs, options, obstacle, arguments.seconds)
                        cells = []
                        for kind in ("stat", "open"):
                            times = [value / 1000 for value in found[kind]]
                            p99 = statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0]
                            cells += [statistics.median(times), p99, max(times)]
                        print(f"| {obstacle.name} | {options} | "
                              + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)
        finally:
            processes.run("umount", home / "source")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"hanging.py: {failure}", file=sys.stderr)
        sys.exit(failure.code)
