"""What is run on every column. A workload says what it needs, prepares a place, and runs there once;
rates are operations a second, so that more is better everywhere."""

import dataclasses
import os
import pathlib
import re

from .fio import Fio
from .loops import LoopOfCalls
from .trees import GitStatus, Grep, Remove, Unpack


@dataclasses.dataclass
class Place:
    """Where a workload runs: `root` is the ground as a column shows it, `native` the ground itself,
    `own` a directory below root that no other column uses."""

    root: pathlib.Path
    native: pathlib.Path
    own: pathlib.Path


READ, WRITE = "read", "write"
# (name, options of fio, data files); those at depth 1 are system calls.
SHAPES = (
    ("depth 1", ("--ioengine=psync",), False),
    ("depth 32", ("--ioengine={async}", "--iodepth=32"), False),
    ("4 x depth 32", ("--ioengine={async}", "--iodepth=32", "--numjobs=4"), True),
    ("4 jobs on one file", ("--ioengine=psync", "--numjobs=4"), False),
)
SHORT = (
    "4k random read, depth 1, direct", "4k random read, depth 32, direct",
    "4k random write, depth 32, direct", "4k random read, 4 jobs on one file, warm",
    "1 MiB read, direct", "1 MiB write, buffered", "fresh stat, 1 thread",
    "create-unlink, 4 threads", "unpack",
)
LOOPS = {
    "stat": "stat", "fresh stat": "fresh-stat", "open-close": "open-close",
    "create-unlink": "create-unlink", "readdir": "readdir",
}


def _data_workloads():
    for way in (READ, WRITE):
        for shape, options, own_files in SHAPES:
            for access in ("direct", "warm", "cold") if way == READ else ("direct", "buffered"):
                yield Fio(f"4k random {way}, {shape}, {access}", "4k",
                          (f"--rw=rand{way}", *options), access, own_files)
    for way in (READ, WRITE):
        for access in ("direct", "warm", "cold") if way == READ else ("direct", "buffered"):
            yield Fio(f"1 MiB {way}, {access}", "1M", (f"--rw={way}", "--ioengine=psync"), access,
                      own_files=False)


def every():
    """All workloads there are, in the order in which they run."""
    found = list(_data_workloads())
    found += [LoopOfCalls(f"{name}, {threads} thread{'s'[:threads > 1]}", loop, threads)
              for name, loop in LOOPS.items() for threads in (1, 4)]
    found += [Unpack("unpack"), GitStatus("git status, warm", cold=False),
              GitStatus("git status, cold", cold=True), Grep("grep -r, warm", cold=False),
              Grep("grep -r, cold", cold=True), Remove("rm -rf")]
    return found


def choose(pattern, preset):
    """(workloads, notes): those that match, of those of the preset unless a pattern is given."""
    chosen = [each for each in every() if re.search(pattern or ".", each.name)]
    if pattern is None and preset == "short":
        chosen = [each for each in chosen if each.name in SHORT]
    notes = []
    if os.geteuid() != 0:
        left_out = [each.name for each in chosen if each.needs_root]
        chosen = [each for each in chosen if not each.needs_root]
        notes += [f"without '{name}': caches are emptied by root only" for name in left_out]
    return chosen, notes
