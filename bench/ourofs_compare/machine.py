"""The machine that is measured: what it is, and whether others use it meanwhile."""

import os
import pathlib
import platform
import time

QUIET_WINDOW_S = 0.2
BUSY_CPUS = 0.1   # more of a CPU than this, used while we do nothing, is a background load
STOLEN_SHARE = 0.02  # of the time of all CPUs


def facts():
    """{name: text} of what a reader must know to compare figures with those of another machine."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "kernel": platform.release(),
        "cpu": model,
        "cpus": str(len(os.sched_getaffinity(0))),
        "load average at start": " ".join(pathlib.Path("/proc/loadavg").read_text().split()[:3]),
    }


class CpuTimes:
    """The counters of /proc/stat, all CPUs together, in ticks."""

    def __init__(self, text=None):
        if text is None:
            text = pathlib.Path("/proc/stat").read_text()
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, text.split()[1:9])
        self.busy = user + nice + system + irq + softirq
        self.stolen = steal
        self.all = self.busy + idle + iowait + steal

    def busy_cpus_since(self, before, cpus):
        """How many CPUs were busy on average."""
        passed = self.all - before.all
        return cpus * (self.busy - before.busy) / passed if passed else 0.0

    def stolen_share_since(self, before):
        """The share of all CPU time that the host gave to others."""
        passed = self.all - before.all
        return (self.stolen - before.stolen) / passed if passed else 0.0


class Watch:
    """Collects warnings about others who use the machine. quiet_window() is to be called while
    nothing of ours runs, stolen() around what is measured."""

    def __init__(self):
        self.cpus = os.cpu_count() or 1
        self.busiest = 0.0
        self.most_stolen = 0.0

    def quiet_window(self):
        before = CpuTimes()
        time.sleep(QUIET_WINDOW_S)
        self.busiest = max(self.busiest, CpuTimes().busy_cpus_since(before, self.cpus))

    def stolen(self, before, after):
        self.most_stolen = max(self.most_stolen, after.stolen_share_since(before))

    def warnings(self):
        said = []
        if self.busiest > BUSY_CPUS:
            said.append(f"background load: others used up to {self.busiest:.1f} of {self.cpus} CPUs "
                        "while nothing was measured")
        if self.most_stolen > STOLEN_SHARE:
            said.append(f"steal time: up to {self.most_stolen:.0%} of the CPU time of a run was "
                        "given to others by the host")
        return said
