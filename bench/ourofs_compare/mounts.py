"""Mounts of the columns: made, proved to be what their names say, and ended."""

import collections
import os
import pathlib
import subprocess
import time

from . import processes
from .columns import NATIVE, OURS, REPORTED, ours
from .failure import MOUNT, Failure, of_os_error

SERVES_WITHIN_S = 30


def is_mounted(path):
    return any(line.split(" ")[4] == _escaped(path)
               for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def _escaped(path):
    return str(path).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")


def pairs_of(line):
    """{word: value} of a line of ourofs that has word=value in it; the last of each counts, since
    what comes before are paths of the user."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


class Native:
    """The directory itself, as a mount that nobody serves."""

    def __init__(self, column, source):
        self.column, self.path, self.pids, self.reported = column, pathlib.Path(source), [], {}

    def check(self):
        pass

    def forget_helpers(self):
        pass

    def end(self):
        pass


class Mounted:
    """What columns of ours and of peers have in common. `pids` are the processes that serve."""

    def __init__(self, column, source, mountpoint, log):
        self.column, self.path, self.pids, self.reported = column, pathlib.Path(mountpoint), [], {}
        self.source, self.log = str(source), pathlib.Path(log)
        self.process = None
        self.path.mkdir(parents=True)

    def start(self, command):
        try:
            with open(self.log, "wb") as log:
                # If we are killed, what is in the foreground unmounts; Ctrl-C is for us alone.
                self.process = subprocess.Popen(
                    [processes.require("setpriv"), "--pdeathsig", "TERM", *command],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                    start_new_session=True)
        except OSError as error:
            raise of_os_error(f"cannot run '{command[0]}'", error) from error

    def said(self):
        return self.log.read_text(errors="replace").strip()

    def fail(self, what):
        said = self.said().splitlines()
        raise Failure(f"'{self.column.name}' {what}" + (f": {said[-1]}" if said else ""), MOUNT)

    def check(self):
        """A Failure if it no longer serves."""
        ended = self.pids and not any(map(processes.is_alive, self.pids))
        if ended or not is_mounted(self.path):
            self.fail("has ended while it was measured")

    def forget_helpers(self):
        """Of the processes keeps those that are still there: some are only for the mounting."""
        self.pids = list(filter(processes.is_alive, self.pids))

    def end(self):
        """Unmounts and waits for the processes. Never fails: everybody else must be ended, too."""
        if is_mounted(self.path):
            command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
            lazy = "-l" if os.geteuid() == 0 else "-z"
            if not processes.quietly(*command, self.path):
                processes.quietly(*command, lazy, self.path)
        started = {self.process.pid} if self.process else set()
        processes.end(sorted(started | set(self.pids)))
        if self.process:
            self.process.wait()


class Ours(Mounted):
    """ourofs in the foreground, whose log says what is at work."""

    def __init__(self, column, source, mountpoint, log, ourofs):
        super().__init__(column, source, mountpoint, log)
        options = ["-o", column.options] if column.options else []
        self.start([ourofs, "-f", *options, self.source, str(self.path)])
        try:
            self._await()
        except BaseException:
            self.end()
            raise

    def _await(self):
        limit = time.monotonic() + SERVES_WITHIN_S
        while not self._lines("serving "):
            if self.process.poll() is not None or time.monotonic() > limit:
                self.fail("was not mounted")
            time.sleep(0.01)
        self.pids = [self.process.pid, *processes.descendants(self.process.pid)]
        self.reported = {word: value for word, value in
                         pairs_of(self._lines("serving ")[-1]).items() if word in REPORTED}
        self._compare(self.reported)

    def _lines(self, kind):
        return [line for line in self.said().splitlines() if line.startswith("ourofs: " + kind)]

    def _compare(self, reported):
        wrong = self.column.differences(reported)
        if wrong:
            raise Failure(f"'{self.column.name}' is not what is mounted: it runs with "
                          + ", ".join(wrong) + " (--modes can leave it out)", MOUNT)

    def prove(self):
        """After the mount has ended: its loops must have served in the mode that the column names,
        and must have served something. What they say of themselves at the end is compared."""
        loops = [pairs_of(line) for line in self._lines("statistics: ")]
        # A loop says more at SIGUSR1; the last words of each count.
        by_number = {pairs["loop"]: pairs for pairs in loops}
        if not by_number:
            self.fail("has left no statistics")
        for pairs in by_number.values():
            said = {word: value for word, value in pairs.items() if word in REPORTED}
            self._compare({**self.reported, **said, "loops": str(len(by_number))})
        counted = collections.Counter()
        for pairs in by_number.values():
            counted.update({word: int(value) for word, value in pairs.items() if value.isdecimal()})
        if not any(count for word, count in counted.items() if word.startswith("request.")):
            self.fail("has served nothing")
        self._compare_counters(counted)

    def _compare_counters(self, counted):
        """Transfers of data are counted where they are done, whatever the loops call themselves."""
        if self.reported.get("backing") == "kernel":
            opens = counted["request.OPEN"] + counted["request.CREATE"]
            if opens and not counted["kernel_opens"] + counted["kernel_mixed_opens"]:
                raise Failure(f"'{self.column.name}' is not what is mounted: of {opens} opened files "
                              "the kernel was given none", MOUNT)
        transfers = counted["request.READ"] + counted["request.WRITE"]
        by_calls = counted["inline_data"]
        backing = self.reported.get("backing")
        if transfers and ((backing == "inline" and not by_calls) or (backing == "ring" and by_calls)):
            raise Failure(f"'{self.column.name}' is not what is mounted: with backing={backing} it "
                          f"made {by_calls} of {transfers} transfers by system calls", MOUNT)


class Peer(Mounted):
    """Whatever a command mounts. It may go to the background, where its processes are found as
    orphans that we have adopted."""

    def __init__(self, column, source, mountpoint, log):
        super().__init__(column, source, mountpoint, log)
        before = set(processes.descendants(os.getpid()))
        self.start([word.replace("{source}", self.source).replace("{mountpoint}", str(self.path))
                    for word in column.command])
        try:
            self._await()
        finally:
            self.pids = sorted(set(processes.descendants(os.getpid())) - before)
            if not is_mounted(self.path):
                self.end()

    def _await(self):
        limit = time.monotonic() + SERVES_WITHIN_S
        while not is_mounted(self.path):
            if self.process.poll() or time.monotonic() > limit:
                self.fail("was not mounted")
            time.sleep(0.01)
        # One that serves answers, and one that goes to the background is there by then.
        try:
            os.listdir(self.path)
        except OSError as error:
            raise of_os_error(f"'{self.column.name}' does not serve", error) from error
        self._settle()

    def _settle(self):
        """A parent that goes away when its daemon serves is not to be among the processes."""
        limit = time.monotonic() + 0.5
        while self.process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)


def mount(column, source, place, ourofs):
    """The mount of a column. `place` is a directory of ours, `source` what is to be mounted."""
    if column.kind == NATIVE:
        return Native(column, source)
    mountpoint, log = place / "mountpoint", place / "log"
    if column.kind == OURS:
        return Ours(column, source, mountpoint, log, ourofs)
    return Peer(column, source, mountpoint, log)


def report_of(ourofs, source, place):
    """What ourofs says of itself without options, by a mount that is ended at once."""

    mounted = mount(ours(""), source, place, ourofs)
    mounted.end()
    return mounted.reported
