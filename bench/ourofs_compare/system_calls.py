"""How many system calls the processes of a mount make, counted from outside, in a run of its own
because counting slows them down."""

import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from . import processes

EVENT = "raw_syscalls:sys_enter"
ATTACHES_WITHIN_S = 10


class NoCounter:
    """Where nothing can count."""

    name = "nothing"

    def start(self, pids):
        pass

    def stop(self):
        return None


class _Program:
    """A program that counts until it is interrupted, and then writes a file."""

    def __init__(self):
        self.process = self.file = None

    def launch(self, words):
        # What it says (strace: that it has attached) goes to the file as well.
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=self.file, text=True)

    def stop(self):
        """The calls since start(), or None where it could not count."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(ATTACHES_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        with self.file:
            return self.parse(pathlib.Path(self.file.name).read_text(errors="replace"))

    def parse(self, text):
        raise NotImplementedError


class Perf(_Program):
    name = "perf stat -e " + EVENT

    def start(self, pids):
        self.file = tempfile.NamedTemporaryFile("w", prefix="ourofsctl.")
        self.launch(["perf", "stat", "-x", ",", "-e", EVENT, "-p", ",".join(map(str, pids))])
        # It does not say when it counts.
        time.sleep(0.2)

    def parse(self, text):
        found = re.search(rf"^(\d+),[^,]*,{EVENT}", text, re.MULTILINE)
        return int(found[1]) if found else None


class Strace(_Program):
    name = "strace -c -f"

    def start(self, pids):
        self.file = tempfile.NamedTemporaryFile("w", prefix="ourofsctl.")
        words = ["strace", "-c", "-f", "-U", "calls,name"]
        for pid in pids:
            words += ["-p", str(pid)]
        self.launch(words)
        limit = time.monotonic() + ATTACHES_WITHIN_S
        said = pathlib.Path(self.file.name)
        while "attached" not in said.read_text() and self.process.poll() is None:
            if time.monotonic() > limit:
                break
            time.sleep(0.02)

    def parse(self, text):
        found = re.search(r"^\s*(\d+)\s+total\s*$", text, re.MULTILINE)
        return int(found[1]) if found else None


def _works(counter):
    """Whether it counts the calls of a process of ours, of which there are some."""
    with subprocess.Popen(["sh", "-c", "while :; do read -r line </proc/uptime; done"],
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            counter.start([process.pid])
            time.sleep(0.05)
            return bool(counter.stop())
        except OSError:
            return False
        finally:
            process.kill()


def choose(stack, work):
    """The best counter that works on this machine. What it needs is made below the directory `work`,
    and undone with the stack."""
    if shutil.which("perf"):
        # perf would mount one for good where it finds none.
        tracefs = work / "tracefs"
        tracefs.mkdir()
        if processes.quietly("mount", "-t", "tracefs", "ourofsctl", tracefs):
            stack.callback(processes.quietly, "umount", tracefs)
        if _works(Perf()):
            return Perf()
    if shutil.which("strace") and _works(Strace()):
        return Strace()
    return NoCounter()


def count(counter, pids, work):
    """(what `work()` returns, the calls that `pids` made meanwhile or None)."""
    living = [pid for pid in pids if processes.is_alive(pid)]
    if not living:
        return work(), None
    counter.start(living)
    try:
        result = work()
    finally:
        calls = counter.stop()
    return result, calls
