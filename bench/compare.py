#!/usr/bin/env python3
"""Compares mounts of one directory with the directory itself, in one interleaved run.

    bench/compare.py [--ourofs PROGRAM] [--dir DIRECTORY] [--rounds N] [--seconds S] [--size MIB]
                     [--jobs REGEX] [--sides REGEX]

Every round runs every fio job on every side in turn (A B C A B C), because machines are noisy; the
table gives the median of each cell, its ratio to native, and the spread. Needs root, fio, and for
the comparison bindfs (both Debian packages).
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

JOBS = {
    "4k randread psync x4, cached": "--rw=randread --bs=4k --ioengine=psync --numjobs=4",
    "4k randread psync x4, O_DIRECT": "--rw=randread --bs=4k --ioengine=psync --numjobs=4 --direct=1",
    "4k randread io_uring QD32, O_DIRECT": "--rw=randread --bs=4k --ioengine=io_uring --iodepth=32 --direct=1",
    "4k randwrite psync x4, cached": "--rw=randwrite --bs=4k --ioengine=psync --numjobs=4",
    "4k randwrite io_uring QD32, cached": "--rw=randwrite --bs=4k --ioengine=io_uring --iodepth=32",
    "4k randwrite io_uring QD32, O_DIRECT": "--rw=randwrite --bs=4k --ioengine=io_uring --iodepth=32 --direct=1",
    "1M read, O_DIRECT": "--rw=read --bs=1M --ioengine=psync --direct=1",
    "1M write, cached": "--rw=write --bs=1M --ioengine=psync",
    "1M write, O_DIRECT": "--rw=write --bs=1M --ioengine=psync --direct=1",
}


def mount(command, mountpoint):
    os.makedirs(mountpoint, exist_ok=True)
    subprocess.run(command + [mountpoint], check=True)
    if not os.path.ismount(mountpoint):
        sys.exit(f"{command[0]} did not mount {mountpoint}")


def run_job(directory, arguments, options):
    command = (
        f"fio --name=job --directory={directory} --filename=data --size={options.size}M "
        f"--time_based --runtime={options.seconds} --group_reporting --invalidate=0 "
        f"--output-format=json {arguments}"
    )
    result = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"fio failed in {directory}: {result.stderr.strip()}")
    job = json.loads(result.stdout)["jobs"][0]
    return job["read"]["iops"] + job["write"]["iops"]


def prepare(directory, size_mib):
    """A file with data in it, so that no side reads holes."""
    with open(os.path.join(directory, "data"), "wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(1 << 20))


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ourofs", default=f"{here}/build/release/mount-helper/ourofs")
    parser.add_argument("--dir", default=None, help="where the source is made (its file system is measured)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=256, help="MiB of the file")
    parser.add_argument("--jobs", default=".", help="only those whose name matches")
    parser.add_argument("--sides", default=".", help="only those whose name matches, and native")
    options = parser.parse_args()
    jobs = {name: job for name, job in JOBS.items() if re.search(options.jobs, name)}
    if not shutil.which("fio"):
        sys.exit("fio is missing: apt install fio")

    base = tempfile.mkdtemp(prefix="ourofs-compare.", dir=options.dir)
    source = os.path.join(base, "source")
    os.makedirs(source)
    sides = {"native": source}
    mounted = []
    try:
        prepare(source, options.size)
        plans = {
            "ourofs": [options.ourofs, source],
            "ourofs loops=1": [options.ourofs, "-o", "loops=1", source],
            "ourofs inline": [options.ourofs, "-o", "backing=inline", source],
        }
        if shutil.which("bindfs"):
            plans["bindfs"] = ["bindfs", source]
        else:
            print("bindfs is missing, so it is not compared: apt install bindfs", file=sys.stderr)
        for name, command in plans.items():
            if not re.search(options.sides, name):
                continue
            mountpoint = os.path.join(base, name.replace(" ", "-").replace("=", ""))
            mount(command, mountpoint)
            mounted.append(mountpoint)
            sides[name] = mountpoint

        cells = {(job, side): [] for job in jobs for side in sides}
        total = options.rounds * len(cells)
        begin = time.monotonic()
        done = 0
        for _ in range(options.rounds):
            for job, arguments in jobs.items():
                for side, directory in sides.items():
                    cells[job, side].append(run_job(directory, arguments, options))
                    done += 1
                    left = (time.monotonic() - begin) / done * (total - done)
                    print(f"\r{done}/{total} runs, {left:.0f} s left ", end="", file=sys.stderr)
        print(file=sys.stderr)

        print("| job | " + " | ".join(sides) + " |")
        print("|---|" + "--:|" * len(sides))
        for job in jobs:
            native = statistics.median(cells[job, "native"])
            row = []
            for side in sides:
                values = cells[job, side]
                median = statistics.median(values)
                row.append(f"{median:,.0f} ({median / native:.2f}) [{min(values):,.0f}..{max(values):,.0f}]")
            print(f"| {job} | " + " | ".join(row) + " |")
        print("\nOperations per second: median (ratio to native) [lowest..highest], "
              f"{options.rounds} rounds of {options.seconds} s, interleaved.")
    finally:
        for mountpoint in mounted:
            subprocess.run(["umount", mountpoint], check=False)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
