"""Metadata workloads: loops of system calls on names, by our load generator (bench/load)."""

import json

from .sample import Sample, execute

FILES = 64
THREADS = 4  # the most that any loop has


class LoopOfCalls:
    """One loop, by `threads` threads that work in a directory each."""

    group = "metadata"
    unit = "ops/s"
    programs = ()
    needs_root = False

    def __init__(self, name, loop, threads):
        self.name, self.loop, self.threads = name, loop, threads

    def set_up(self, place, settings):
        directory = place.own / "loops"
        directory.mkdir(exist_ok=True)
        execute([settings.load, "prepare", directory, "--threads", THREADS, "--files", FILES])

    def before(self, place, settings):
        pass

    def run(self, place, settings, seconds):
        said = execute([settings.load, self.loop, place.own / "loops", "--threads", self.threads,
                        "--files", FILES, "--seconds", seconds])
        figures = json.loads(said)
        return Sample(figures["operations"], figures["seconds"], figures["p50_ns"],
                      figures["p99_ns"])

    def after(self, place, settings):
        pass
