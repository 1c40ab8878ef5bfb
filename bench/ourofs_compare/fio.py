"""Data workloads: fio on files that were filled before, so that nobody reads holes."""

import json
import os
import pathlib

from . import caches
from .sample import RunFailed, Sample, execute

JOBS = 4
DISABLED = "/proc/sys/kernel/io_uring_disabled"
MIB = 1 << 20


def asynchronous_engine():
    """io_uring where this process may use it, or libaio."""
    try:
        disabled = int(pathlib.Path(DISABLED).read_text())
    except (OSError, ValueError):
        disabled = 0
    allowed = disabled == 0 or (disabled == 1 and os.geteuid() == 0)
    return "io_uring" if allowed else "libaio"


def names(own_files):
    return [f"data.{number}" for number in range(JOBS)] if own_files else ["data"]


def fill(directory, mib):
    """Makes the data files of a ground: one of `mib`, and as much again in one for each of 4 jobs."""
    for name, size in [("data", mib)] + [(name, mib // JOBS) for name in names(True)]:
        with open(directory / name, "wb") as file:
            for _ in range(size):
                file.write(os.urandom(MIB))
            file.flush()
            os.fsync(file.fileno())


class Fio:
    """One job. `access` is direct, warm, cold or buffered; with `own_files` each of 4 jobs has a
    file of its own."""

    group = "data"
    programs = ("fio",)

    def __init__(self, name, block, options, access, own_files):
        self.name, self.block, self.options, self.access = name, block, options, access
        self.own_files = own_files
        self.needs_root = access == "cold"
        self.unit = "MiB/s" if block == "1M" else "ops/s"

    def set_up(self, place, settings):
        pass

    def paths(self, directory):
        return [directory / name for name in names(self.own_files)]

    def before(self, place, settings):
        if self.access == "warm":
            caches.prime(self.paths(place.root))
        elif self.access == "cold":
            caches.drop()
        elif self.access == "direct":
            # Whoever serves direct reads from its cache is to begin without one.
            caches.forget(self.paths(place.root) + self.paths(place.native))

    def command(self, settings, seconds):
        words = ["fio", "--name=job", f"--bs={self.block}", f"--runtime={round(seconds * 1000)}ms",
                 "--thread", "--group_reporting", "--invalidate=0", "--disk_util=0", "--eta=never",
                 "--percentile_list=50:99", "--output-format=json"]
        words += [word.replace("{async}", asynchronous_engine()) for word in self.options]
        if self.access == "direct":
            words.append("--direct=1")
        jobs = JOBS if f"--numjobs={JOBS}" in self.options else 1
        share = settings.size // jobs
        if self.own_files:
            words += ["--filename_format=data.$jobnum", f"--size={share}M"]
        elif self.access == "cold" and jobs > 1:
            # Each in a part of its own: what one has read is not cold for another.
            words += ["--filename=data", f"--size={share}M", f"--offset_increment={share}M"]
        else:
            words += ["--filename=data", f"--size={settings.size}M"]
        if self.access != "cold":  # what is cold is so only once
            words.append("--time_based")
        return words

    def run(self, place, settings, seconds):
        return read(execute(self.command(settings, seconds), cwd=place.root))

    def after(self, place, settings):
        if "write" in self.name:
            caches.settle(self.paths(place.root) + self.paths(place.native))


def read(text):
    """The Sample of fio's JSON output, of a job that either reads or writes."""
    # Warnings may stand before it.
    job = json.loads(text[text.index("{"):])["jobs"][0]
    way = max((job["read"], job["write"]), key=lambda each: each["total_ios"])
    if way["total_ios"] == 0 or way["runtime"] == 0:
        raise RunFailed("fio: nothing was done")
    percentiles = way["clat_ns"].get("percentile", {})
    return Sample(way["total_ios"], way["total_ios"] / way["iops"],
                  percentiles.get("50.000000"), percentiles.get("99.000000"))
