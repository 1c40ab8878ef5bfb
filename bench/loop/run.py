#!/usr/bin/env python3
"""Runs the benchmarks of the loop and of its peers, interleaved, and prints one table.

    bench/loop/run.py BUILD [--rounds N] [--filter REGEX] [--json FILE] [--ring-setup]

BUILD is a release build tree with -DOURO_BENCH=ON. Every round runs every row of every program once,
in an order of its own, because machines are noisy; the table gives medians in nanoseconds per item, the
spread of ours ((max - min) / median), and the ratio of each peer to ours: above 1, ours is faster.
With --ring-setup it measures instead what each choice of loop/ring.cpp is worth: the time without
it, as a ratio to that of the set-up that the loop has. Above 1, the choice pays.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys

PROGRAMS = ["ouro", "raw", "libuv", "asio-epoll", "asio-uring"]
CHOSEN = "as_the_loop_does"


def rows_of(program, pattern):
    result = subprocess.run(
        [program, "--benchmark_list_tests", f"--benchmark_filter={pattern}"],
        capture_output=True, text=True, check=True)
    return result.stdout.split()


def measure(program, row):
    """Nanoseconds per item, or None where the row failed."""
    try:
        result = subprocess.run(
            [program, f"--benchmark_filter=^{row}$", "--benchmark_format=json",
             "--benchmark_min_time=0.2"],
            capture_output=True, text=True, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"\nrun.py: {error}", file=sys.stderr)
        return None
    run = json.loads(result.stdout)["benchmarks"][0]
    if "items_per_second" in run:
        return 1e9 / run["items_per_second"]
    return run["real_time"]


def run_all(programs, options):
    """Every figure of every row of every program: {row: {program: [nanoseconds]}}."""
    missing = [path for path in programs.values() if not os.path.exists(path)]
    if missing:
        sys.exit(f"run.py: there is no {missing[0]}: configure with -DOURO_BENCH=ON and build")
    rows = {name: rows_of(path, options.filter) for name, path in programs.items()}
    order = list(dict.fromkeys(row for name in programs for row in rows[name]))
    figures = {row: {name: [] for name in programs} for row in order}
    for round_number in range(1, options.rounds + 1):
        runs = [(row, name) for row in order for name in programs if row in rows[name]]
        random.shuffle(runs)  # or whoever comes first in each row pays for what came before
        for row, name in runs:
            print(f"\rround {round_number}/{options.rounds}: {row:70}", end="", file=sys.stderr)
            figure = measure(programs[name], row)
            if figure is not None:
                figures[row][name].append(figure)
    print(file=sys.stderr)
    return figures


def print_loops(figures):
    print("| row | ours, ns | spread | " + " | ".join(PROGRAMS[1:]) + " |")
    print("|---|--:|--:|" + "--:|" * (len(PROGRAMS) - 1))
    for row, by_program in figures.items():
        ours = by_program["ouro"]
        if not ours:
            continue
        median = statistics.median(ours)
        cells = [f"{statistics.median(by_program[name]) / median:.2f}" if by_program[name] else ""
                 for name in PROGRAMS[1:]]
        spread = (max(ours) - min(ours)) / median
        print(f"| {row} | {median:.0f} | {spread:.0%} | " + " | ".join(cells) + " |")


def print_ring_setups(figures):
    medians = {}
    for row, by_program in figures.items():
        work, setup = row.removesuffix("/real_time").split("/")
        if by_program["ring-setup"]:
            medians.setdefault(setup, {})[work] = statistics.median(by_program["ring-setup"])
    works = list(medians[CHOSEN])
    print("| set-up | " + " | ".join(works) + " |")
    print("|---|" + "--:|" * len(works))
    cells = [f"{medians[CHOSEN][work]:.0f} ns" for work in works]
    print(f"| {CHOSEN} | " + " | ".join(cells) + " |")
    for setup, by_work in medians.items():
        if setup != CHOSEN:
            cells = [f"{by_work[work] / medians[CHOSEN][work]:.2f}" for work in works]
            print(f"| {setup} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filter", default=".")
    parser.add_argument("--json")
    parser.add_argument("--ring-setup", action="store_true")
    options = parser.parse_args()

    names = ["ring-setup"] if options.ring_setup else PROGRAMS
    programs = {name: os.path.join(options.build, "bench/loop", f"ouro-bench-{name}")
                for name in names}
    figures = run_all(programs, options)
    print_ring_setups(figures) if options.ring_setup else print_loops(figures)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
