"""Programs that we start, and the processes that serve a mount."""

import collections
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import time

from .failure import Failure, missing_program

PR_SET_CHILD_SUBREAPER = 36
PACKAGES = {
    "fio": "fio", "git": "git", "tar": "tar", "grep": "grep", "mkfs.ext4": "e2fsprogs",
    "losetup": "mount", "fusermount3": "fuse3", "setpriv": "util-linux", "bindfs": "bindfs",
}
KILL_AFTER_S = 10


def require(program):
    """The path of a program, or a Failure that says what to install."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise missing_program(program, PACKAGES.get(program, program))
    return path


def run(*command, **arguments):
    """Runs a command that must succeed, and returns its standard output."""
    words = [str(word) for word in command]
    words[0] = require(words[0])
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, check=False, **arguments)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise Failure(f"{os.path.basename(words[0])} failed: {said[-1]}")
    return done.stdout


def adopt_orphans():
    """Makes daemons that peers leave behind our children: so they are found, and waited for."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failure(f"cannot adopt daemons: {os.strerror(ctypes.get_errno())}")


def descendants(pid):
    """All processes below `pid`, without itself; zombies are none."""
    children = collections.defaultdict(list)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name may contain anything, so count from behind it.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (OSError, UnicodeDecodeError):
            continue
        if state not in "ZX":
            children[int(parent)].append(int(stat.parent.name))
    found = list(children[pid])
    for process in found:
        found += children[process]
    return found


def cpu_ns(pids):
    """The CPU time that these processes have had, in nanoseconds: of all their threads, those that
    have ended and the kernel's workers of their rings included. None without processes."""
    total = 0
    for pid in pids:
        try:
            # The clock of a process by its number: CPUCLOCK_SCHED (2) of clock_getcpuclockid(3).
            total += time.clock_gettime_ns((~pid << 3) | 2)
        except OSError:
            return None
    return total if pids else None


def is_alive(pid):
    try:
        # What has ended and was not waited for is none of the living.
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def end(pids):
    """Sees to it that processes end: by themselves, by SIGTERM, by SIGKILL."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        for pid in filter(is_alive, pids):
            if number:
                _kill(pid, number)
        limit = time.monotonic() + KILL_AFTER_S
        while any(map(is_alive, pids)) and time.monotonic() < limit:
            time.sleep(0.01)
    for pid in pids:
        _collect(pid)


def _kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _collect(pid):
    """Waits for an adopted child; who was started by a Popen is waited for by that as well."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def quietly(*command):
    """Runs a command whose failure nobody need hear of, and which Ctrl-C does not reach; whether it
    succeeded."""
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True).returncode == 0
