"""The comparison itself: on every ground it mounts all columns, and runs each workload on each
column in turn, round after round, so that what changes on the machine meets all of them.

Round 0 counts system calls and fills caches; its times are not kept. Each further round begins with
another column, so that none has always the same one before it."""

import contextlib
import datetime
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from . import columns, fio, grounds, machine, mounts, processes, progress, system_calls, trees
from .failure import Failure
from .sample import RunFailed
from .summary import FEWEST_ROUNDS, Cell, Comparison, Run
from .workloads import Place
from .workloads import choose as choose_workloads

COUNTED_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal that ends the program, once everything is undone."""

    def __init__(self, number):
        super().__init__()
        self.number = number


class Undo(contextlib.ExitStack):
    """An ExitStack that no signal interrupts: one that comes counts when all is undone."""

    def __exit__(self, *details):
        came = []
        before = {number: signal.signal(number, lambda number, _frame: came.append(number))
                  for number in SIGNALS}
        try:
            handled = super().__exit__(*details)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if came and details[0] is None:
            raise Interrupted(came[0])
        return handled


def _interrupt(number, _frame):
    raise Interrupted(number)


def _sweep(work):
    """The last of the undoing: whatever is still mounted or running below us, and the directory."""
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        path = line.split(" ")[1]
        if path.startswith(f"{work}/"):
            processes.quietly("umount", "-l", path)
    processes.end(processes.descendants(os.getpid()))
    shutil.rmtree(work, ignore_errors=True)


class Runner:
    """One comparison. compare() may be called once, on the main thread."""

    def __init__(self, settings):
        self.settings = settings
        self.watch = machine.Watch()
        self.display = progress.display()
        self.begin = time.monotonic()
        self.counter = self.estimate = self.comparison = self.work = None

    def compare(self):
        """The Comparison. A Failure or Interrupted leaves nothing behind, either."""
        for number in SIGNALS:
            signal.signal(number, _interrupt)
        processes.adopt_orphans()
        with Undo() as stack:
            self.work = pathlib.Path(tempfile.mkdtemp(prefix="ourofsctl."))
            stack.callback(_sweep, self.work)
            self.work.chmod(0o755)
            self.prepare(stack)
            stack.callback(self.display.stop)
            self.display.start()
            for name in self.settings.on:
                self.on_ground(name)
            self.display.show(self.estimate, "done")
        self.conclude()
        return self.comparison

    # --- before the first ground --------------------------------------------------------------

    def prepare(self, stack):
        settings = self.settings
        facts = machine.facts()
        report = self.default_report()
        chosen, notes = columns.choose(settings, report)
        workloads, more = choose_workloads(settings.workloads, settings.preset)
        if not workloads:
            raise Failure(f"no workload matches '{settings.workloads}'", 1)
        for program in sorted({name for each in workloads for name in each.programs}):
            processes.require(program)
        self.counter = system_calls.choose(stack, self.work)
        settings.archive = str(self.work / "tree.tar")
        trees.make_archive(settings.archive, settings.tree)
        self.comparison = Comparison(
            started=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            command=sys.argv, machine=facts, settings=self.recorded(), grounds={},
            workloads=workloads, columns=chosen, notes=notes + more)
        self.estimate = progress.Estimate(
            [self.step(ground, workload, column, number == 0)
             for ground in settings.on for number in range(settings.rounds + 1)
             for workload in workloads for column in chosen])

    def default_report(self):
        source = self.work / "probe" / "source"
        source.mkdir(parents=True)
        return mounts.report_of(self.settings.ourofs, source, self.work / "probe")

    def recorded(self):
        settings = self.settings
        return {"preset": settings.preset, "rounds": settings.rounds, "seconds": settings.seconds,
                "size_mib": settings.size, "tree_files": settings.tree, "source": settings.source,
                "ourofs": settings.ourofs, "system_calls_by": self.counter.name,
                "asynchronous_engine": fio.asynchronous_engine()}

    @staticmethod
    def step(ground, workload, column, counted):
        return (ground, workload.name, column.name, counted)

    # --- one ground ---------------------------------------------------------------------------

    def on_ground(self, name):
        with Undo() as stack:
            ground = self.make_ground(name, stack)
            self.comparison.grounds[name] = ground.description
            self.comparison.notes += ground.notes
            mounted = self.mount_all(ground, stack)
            places = {each.column.name: self.place(ground, number, each)
                      for number, each in enumerate(mounted)}
            self.set_up(ground, mounted, places)
            for each in mounted:
                each.check()
                each.forget_helpers()
            self.go_through_rounds(ground, mounted, places)
            # Those that have failed something are ended and asked as well.
            for each in mounted:
                each.check()
                each.end()
                self.comparison.mounts[name, each.column.name] = each.reported
                if each.column.kind == columns.OURS:
                    each.prove()

    def make_ground(self, name, stack):
        settings = self.settings
        data = any(each.group == "data" for each in self.comparison.workloads)
        # Two sets of data files, and trees of 8 KiB a file: two in each place and git's objects.
        mib = (2 * settings.size if data else 0) + 256
        mib += settings.tree * len(self.comparison.columns) * 32 // 1024
        ground = grounds.make(name, settings.source, self.work, mib, stack)
        if data:
            self.display.show(self.estimate, f"{name}: making files")
            fio.fill(ground.directory, settings.size)
        return ground

    def mount_all(self, ground, stack):
        mounted = []
        for number, column in enumerate(self.comparison.columns):
            place = self.work / ground.name / f"mount{number}"
            place.mkdir(parents=True)
            each = mounts.mount(column, ground.directory, place, self.settings.ourofs)
            stack.callback(each.end)
            mounted.append(each)
        return mounted

    @staticmethod
    def place(ground, number, mounted):
        place = Place(mounted.path, ground.directory, mounted.path / f"column{number}")
        place.own.mkdir()
        return place

    def set_up(self, ground, mounted, places):
        for workload in self.comparison.workloads:
            for each in mounted:
                self.display.show(self.estimate, f"{ground.name}: preparing {each.column.name}")
                key = (ground.name, workload.name, each.column.name)
                cell = self.comparison.cells[key] = Cell()
                try:
                    workload.set_up(places[each.column.name], self.settings)
                except (RunFailed, OSError) as error:
                    cell.failure = str(error)

    # --- rounds -------------------------------------------------------------------------------

    def go_through_rounds(self, ground, mounted, places):
        deadline = self.deadline(ground)
        for number in range(self.settings.rounds + 1):
            begin = time.monotonic()
            self.watch.quiet_window()
            for workload in self.comparison.workloads:
                first = number % len(mounted)
                for each in mounted[first:] + mounted[:first]:
                    self.turn(ground, workload, each, places[each.column.name], number)
            took = time.monotonic() - begin
            if number >= 1 and deadline and time.monotonic() + took > deadline:
                self.stop_early(ground, number)
                break

    def deadline(self, ground):
        """When the last round on this ground is to be over; None: whenever it is."""
        budget = self.settings.budget_s
        if budget is None:
            return None
        share = (self.settings.on.index(ground.name) + 1) / len(self.settings.on)
        return self.begin + budget * share

    def stop_early(self, ground, rounds):
        left = self.settings.rounds - rounds
        if left == 0:
            return
        self.comparison.notes.append(
            f"{ground.name}: {rounds} rounds instead of {self.settings.rounds}, to be done in time "
            "(--rounds takes the time it needs)")
        self.estimate.skip([step for step in self.estimate.left if step[0] == ground.name])

    def turn(self, ground, workload, mounted, place, number):
        """One run, kept unless it is of round 0."""
        cell = self.comparison.cells[ground.name, workload.name, mounted.column.name]
        counted = number == 0
        text = "counting system calls" if counted else f"round {number}/{self.settings.rounds}"
        self.display.show(self.estimate,
                          f"{ground.name}, {text}: {workload.name}, {mounted.column.name}")
        begin = time.monotonic()
        if cell.failure is None:
            try:
                workload.before(place, self.settings)
                (self.count if counted else self.measure)(workload, mounted, place, cell)
                workload.after(place, self.settings)
            except (RunFailed, OSError) as error:
                mounted.check()
                cell.failure = str(error)
                cell.runs.clear()
        self.estimate.done(self.step(ground.name, workload, mounted.column, counted),
                           time.monotonic() - begin)

    def count(self, workload, mounted, place, cell):
        seconds = min(self.settings.seconds, COUNTED_S)
        sample, calls = system_calls.count(
            self.counter, mounted.pids, lambda: workload.run(place, self.settings, seconds))
        if calls is not None:
            cell.calls_per_operation = calls / sample.operations

    def measure(self, workload, mounted, place, cell):
        times = machine.CpuTimes()
        cpu = processes.cpu_ns(mounted.pids)
        sample = workload.run(place, self.settings, self.settings.seconds)
        after = processes.cpu_ns(mounted.pids)
        self.watch.stolen(times, machine.CpuTimes())
        used = None if cpu is None or after is None else after - cpu
        cell.runs.append(Run(sample.operations, sample.seconds, sample.p50_ns, sample.p99_ns, used))

    # --- after the last ground ----------------------------------------------------------------

    def conclude(self):
        comparison = self.comparison
        comparison.leave_out_what_fails_natively()
        comparison.warnings += self.watch.warnings()
        undecided, known = comparison.undecided()
        if undecided:
            few = any(0 < len(cell.runs) < FEWEST_ROUNDS for cell in comparison.cells.values())
            few = ", or of too few rounds" if few else ""
            comparison.warnings.append(
                f"too noisy to decide: {undecided} of {known} ratios, marked with ~, are of columns "
                f"whose ranges overlap{few}")
        for ground, workload, column, reason in comparison.failures():
            comparison.warnings.append(f"failed: {workload} on '{column}' ({ground}): {reason}")
