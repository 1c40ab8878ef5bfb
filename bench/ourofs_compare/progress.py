"""How far a comparison is and how long it will go on, on standard error."""

import sys
import time

from .failure import Failure


class Estimate:
    """The time left: of every step, what it took when it was last done, and of those that were
    never done the average of the others."""

    def __init__(self, steps):
        """`steps` is every step that is to be done, in order; the same step may come again."""
        self.left = list(steps)
        self.total = len(self.left)
        self.took = {}

    def done(self, step, seconds):
        self.left.remove(step)
        self.took[step] = seconds

    def skip(self, steps):
        """Steps that will not be done."""
        for step in steps:
            self.left.remove(step)
            self.total -= 1

    @property
    def finished(self):
        return self.total - len(self.left)

    def seconds_left(self):
        """None as long as nothing was done."""
        if not self.took:
            return None
        average = sum(self.took.values()) / len(self.took)
        return sum(self.took.get(step, average) for step in self.left)


def clock(seconds):
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tell(text):
    """A line on standard error. That nobody reads any more is no reason to end."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass


class _Lines:
    """For logs: a line at most every few seconds."""

    EVERY_S = 10

    def __init__(self):
        self.last = 0.0

    def start(self):
        pass

    def show(self, estimate, text):
        now = time.monotonic()
        if now - self.last < self.EVERY_S and estimate.left:
            return
        self.last = now
        left = estimate.seconds_left()
        rest = "" if left is None else f", {clock(left)} left"
        tell(f"[{estimate.finished}/{estimate.total}] {text}{rest}")

    def stop(self):
        pass


class _Bar:
    """For terminals: one line that changes."""

    def __init__(self):
        try:
            from rich import console, progress  # pylint: disable=import-outside-toplevel
        except ImportError as error:
            raise Failure("there is no rich for Python: apt install python3-rich") from error
        self.bar = progress.Progress(
            progress.BarColumn(), progress.TextColumn("{task.completed}/{task.total}"),
            progress.TextColumn("{task.fields[left]}"), progress.TextColumn("{task.description}"),
            console=console.Console(stderr=True), transient=True, auto_refresh=False)
        self.task = None

    def start(self):
        self.bar.start()
        self.task = self.bar.add_task("", left="", total=None)

    def show(self, estimate, text):
        left = estimate.seconds_left()
        self.bar.update(self.task, completed=estimate.finished, total=estimate.total,
                        description=text, left="" if left is None else f"{clock(left)} left",
                        refresh=True)

    def stop(self):
        self.bar.stop()


def display():
    """A bar on a terminal, lines elsewhere. A Failure without what the bar needs."""
    return _Bar() if sys.stderr.isatty() else _Lines()
