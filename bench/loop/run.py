#!/usr/bin/env python3
"""Runs the benchmarks of the loop and of its peers, interleaved, and prints one table.

    bench/loop/run.py BUILD [--rounds N] [--filter REGEX] [--json FILE]

BUILD is a release build tree with -DOURO_BENCH=ON. Every round runs every row of every program in
turn (A B C A B C), because machines are noisy; the table gives medians in nanoseconds per item, the
spread of ours ((max - min) / median), and the ratio of each peer to ours: above 1, ours is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

PROGRAMS = ["ouro", "raw", "libuv", "asio-epoll", "asio-uring"]


def rows_of(program, pattern):
    result = subprocess.run(
        [program, "--benchmark_list_tests", f"--benchmark_filter={pattern}"],
        capture_output=True, text=True, check=True)
    return result.stdout.split()


def measure(program, row):
    """Nanoseconds per item, or None where the row failed."""
    result = subprocess.run(
        [program, f"--benchmark_filter=^{row}$", "--benchmark_format=json",
         "--benchmark_min_time=0.2"],
        capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return None
    run = json.loads(result.stdout)["benchmarks"][0]
    if "items_per_second" in run:
        return 1e9 / run["items_per_second"]
    return run["real_time"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filter", default=".")
    parser.add_argument("--json")
    options = parser.parse_args()

    programs = {name: os.path.join(options.build, "bench/loop", f"ouro-bench-{name}")
                for name in PROGRAMS}
    missing = [path for path in programs.values() if not os.path.exists(path)]
    if missing:
        sys.exit(f"run.py: there is no {missing[0]}: configure with -DOURO_BENCH=ON and build")
    rows = {name: rows_of(path, options.filter) for name, path in programs.items()}
    order = list(dict.fromkeys(row for name in PROGRAMS for row in rows[name]))
    figures = {row: {name: [] for name in PROGRAMS} for row in order}
    for round_number in range(1, options.rounds + 1):
        for row in order:
            print(f"\rround {round_number}/{options.rounds}: {row:40}", end="", file=sys.stderr)
            for name in PROGRAMS:
                if row in rows[name]:
                    figure = measure(programs[name], row)
                    if figure is not None:
                        figures[row][name].append(figure)
    print(file=sys.stderr)

    print("| row | ours, ns | spread | " + " | ".join(PROGRAMS[1:]) + " |")
    print("|---|--:|--:|" + "--:|" * (len(PROGRAMS) - 1))
    for row in order:
        ours = figures[row]["ouro"]
        if not ours:
            continue
        median = statistics.median(ours)
        cells = [f"{statistics.median(figures[row][name]) / median:.2f}" if figures[row][name]
                 else "" for name in PROGRAMS[1:]]
        spread = (max(ours) - min(ours)) / median
        print(f"| {row} | {median:.0f} | {spread:.0%} | " + " | ".join(cells) + " |")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
