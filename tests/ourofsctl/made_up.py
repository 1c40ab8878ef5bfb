"""A comparison whose figures were chosen, for the tests of what is made of figures."""

import pathlib
import sys

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from ourofs_compare.columns import Column  # pylint: disable=wrong-import-position
from ourofs_compare.summary import Cell, Comparison, Run  # pylint: disable=wrong-import-position


class Workload:
    def __init__(self, name, unit, group):
        self.name, self.unit, self.group = name, unit, group


READ = Workload("4k random read", "ops/s", "data")
UNPACK = Workload("unpack", "files/s", "trees")
COLUMNS = [Column("native", "native"), Column("ourofs", "ours"),
           Column("ourofs backing=inline", "ours", options="backing=inline"),
           Column("pe|er", "peer", command=("mounter", "{source}", "{mountpoint}"))]


def cell(*rates, cpu_us=None, calls=None, p50_us=None, p99_us=None):
    """A Cell of runs of two seconds with these rates."""
    runs = [Run(int(rate * 2), 2.0, p50_us and p50_us * 1000, p99_us and p99_us * 1000,
                None if cpu_us is None else int(cpu_us * 1000 * rate * 2)) for rate in rates]
    return Cell(runs, calls)


def comparison():
    made = Comparison(
        started="2026-01-02T03:04:05+00:00", command=["ourofsctl", "compare"],
        machine={"kernel": "6.18", "cpus": "2"},
        settings={"rounds": 3, "seconds": 2.0, "system_calls_by": "an abacus"},
        grounds={"tmpfs": "tmpfs"}, workloads=[READ, UNPACK], columns=COLUMNS)
    cells = {
        (READ, "native"): cell(1000, 1100, 900, p50_us=10, p99_us=40),
        (READ, "ourofs"): cell(500, 480, 520, cpu_us=7, calls=1.25, p50_us=20, p99_us=81),
        (READ, "ourofs backing=inline"): cell(940, 890, 990, cpu_us=3, calls=2),
        (READ, "pe|er"): cell(250, 240, 260, cpu_us=12, calls=4),
        (UNPACK, "native"): cell(100, 100, 100),
        (UNPACK, "ourofs"): cell(50, 51, 49, cpu_us=300),
        (UNPACK, "ourofs backing=inline"): Cell(failure="tar: it <broke>"),
        (UNPACK, "pe|er"): cell(20, 20),
    }
    for (workload, column), content in cells.items():
        made.cells["tmpfs", workload.name, column] = content
    made.mounts["tmpfs", "ourofs"] = {"transport": "dev", "backing": "ring"}
    made.notes.append("a note")
    made.warnings.append("a warning")
    return made
