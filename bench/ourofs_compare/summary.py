"""From the runs to the figures: medians, spreads, ratios, and what the noise leaves undecided."""

import dataclasses
import statistics

FEWEST_ROUNDS = 3  # with fewer nothing is decided


@dataclasses.dataclass
class Run:
    """One measured run. `cpu_ns` is the CPU time of the processes that serve, None without any."""

    operations: int
    seconds: float
    p50_ns: float | None
    p99_ns: float | None
    cpu_ns: int | None

    @property
    def rate(self):
        return self.operations / self.seconds


@dataclasses.dataclass
class Cell:
    """All that is known of one workload on one column. `failure` says why there are no runs."""

    runs: list = dataclasses.field(default_factory=list)
    calls_per_operation: float | None = None
    failure: str | None = None


@dataclasses.dataclass
class Ratio:
    """Of two medians. Not `decided` where the two columns' ranges overlap, or of too few rounds."""

    value: float
    decided: bool


@dataclasses.dataclass
class Figures:
    """Of a cell: operations a second, the spread as (highest - lowest) / median, and what an
    operation takes in microseconds. None is what is not known."""

    median: float
    lowest: float
    highest: float
    spread: float
    p50_us: float | None
    p99_us: float | None
    cpu_us: float | None
    calls: float | None


def _median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _scaled(value, factor):
    return None if value is None else value * factor


def figures(cell):
    """The Figures of a cell, or None if nothing was measured."""
    if not cell.runs:
        return None
    rates = [run.rate for run in cell.runs]
    median = statistics.median(rates)
    cpu = [None if run.cpu_ns is None else run.cpu_ns / run.operations for run in cell.runs]
    return Figures(
        median, min(rates), max(rates), (max(rates) - min(rates)) / median,
        _scaled(_median(run.p50_ns for run in cell.runs), 1e-3),
        _scaled(_median(run.p99_ns for run in cell.runs), 1e-3),
        _scaled(_median(cpu), 1e-3), cell.calls_per_operation)


def ratio(cell, base):
    """The Ratio of a cell to another one, or None if one of them was not measured."""
    ours, theirs = figures(cell), figures(base)
    if ours is None or theirs is None:
        return None
    enough = min(len(cell.runs), len(base.runs)) >= FEWEST_ROUNDS
    overlap = ours.lowest <= theirs.highest and theirs.lowest <= ours.highest
    return Ratio(ours.median / theirs.median, enough and not overlap)


@dataclasses.dataclass
class Comparison:
    """A whole comparison, as the reports take it. `cells` is {(ground, workload, column): Cell} by
    names; `mounts` is {(ground, column): what it said of itself}; `bases` are the columns that
    others are compared with."""

    started: str
    command: list
    machine: dict
    settings: dict
    grounds: dict      # {name: description}
    workloads: list    # with name, unit and group
    columns: list      # with name, kind and options
    cells: dict = dataclasses.field(default_factory=dict)
    mounts: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)

    @property
    def bases(self):
        return [column.name for column in self.columns if column.kind in ("native", "peer")]

    def rows(self, ground, workload):
        """(column, Cell) of each column."""
        for column in self.columns:
            cell = self.cells.get((ground, workload.name, column.name))
            if cell is not None:
                yield column, cell

    def ratio(self, ground, workload, column, base):
        """The Ratio of two columns, by their names; None where there is none."""
        if column == base:
            return None
        cells = [self.cells.get((ground, workload.name, name)) for name in (column, base)]
        return None if None in cells else ratio(*cells)

    def undecided(self):
        """(ratios that the noise leaves undecided, all ratios)."""
        all_ratios = [self.ratio(ground, workload, column.name, base)
                      for ground in self.grounds for workload in self.workloads
                      for column in self.columns for base in self.bases]
        known = [each for each in all_ratios if each is not None]
        return sum(not each.decided for each in known), len(known)

    def leave_out_what_fails_natively(self):
        """What the file system itself cannot do says nothing of the mounts: it becomes a note."""
        for ground in self.grounds:
            for workload in self.workloads:
                cell = self.cells.get((ground, workload.name, "native"))
                if cell is None or cell.failure is None:
                    continue
                self.notes.append(f"without '{workload.name}' on {ground}, which fails natively: "
                                  + cell.failure)
                for column in self.columns:
                    self.cells.pop((ground, workload.name, column.name), None)

    def failures(self):
        """(ground, workload, column, reason) of what did not run."""
        return [(*key, cell.failure) for key, cell in self.cells.items() if cell.failure]
