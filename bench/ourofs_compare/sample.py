"""What one run of a workload gives, and how its program is run."""

import dataclasses
import os
import subprocess

LIMIT_S = 600  # however slow a mount is; one that hangs must not hold up the others


@dataclasses.dataclass
class Sample:
    """Operations and the time they took; the percentiles are of one operation's time, None where
    the workload has none."""

    operations: int
    seconds: float
    p50_ns: float | None = None
    p99_ns: float | None = None


class RunFailed(Exception):
    """A run of a workload that did not work; the comparison goes on with the others."""


def execute(words, good=(0,), **arguments):
    """The standard output of a program. RunFailed if its exit code is none of `good`, or if it does
    not end."""
    words = [str(word) for word in words]
    name = os.path.basename(words[0])
    try:
        done = subprocess.run(words, text=True, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT_S,
                              **arguments)
    except subprocess.TimeoutExpired as error:
        raise RunFailed(f"{name}: it did not end within {LIMIT_S} s") from error
    if done.returncode not in good:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise RunFailed(f"{name}: " + said.splitlines()[0].removeprefix(f"{name}: "))
    return done.stdout
