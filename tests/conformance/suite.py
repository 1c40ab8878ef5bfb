"""What the runs of the public suites share: a world of their own, backing file systems on images,
results, and what is said of them. The suites themselves are elsewhere: each command is given the
directory where one is built.
"""

import argparse
import atexit
import collections
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPECTED = pathlib.Path(__file__).with_name("expected-failures.md")
MAKE_FS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
INSIDE = "OURO_CONFORMANCE_INSIDE"


class CannotRun(Exception):
    """Nothing can be said of the suite; the text is for the user."""


@dataclasses.dataclass
class Result:
    """One test of a suite. `failures` names the parts that failed, where the suite has parts."""

    name: str
    status: str
    seconds: float = 0
    detail: str = ""
    failures: frozenset = frozenset()
    checks: int = 1


def parser_of(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkout", help="the directory where the suite is built")
    parser.add_argument("tests", nargs="*", help="only these")
    parser.add_argument("--backing", choices=MAKE_FS, default="xfs",
                        help="the file system of the source, on an image (xfs)")
    parser.add_argument("-o", dest="options", default="", metavar="OPTIONS",
                        help="further mount options of ourofs, as in -o cache=never,loops=1")
    parser.add_argument("--limit", type=int, default=300, metavar="SECONDS",
                        help="time that one test may take (300)")
    parser.add_argument("--size", default="10G", help="of each image, sparse (10G)")
    parser.add_argument("--ourofs", default=str(ROOT / "build/release/mount-helper/ourofs"),
                        help="the program (that of build/release)")
    parser.add_argument("--work", default=None, metavar="DIR",
                        help="where the images are made (TMPDIR)")
    parser.add_argument("--no-native", dest="native", action="store_false",
                        help="do not run natively what has failed")
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    parser.add_argument("--markdown", metavar="FILE", help="write them as a Markdown table")
    return parser


def enter_own_world():
    """Namespaces of its own for mounts, IPC and processes: whatever a test leaves behind ends with
    us, and what it changes (users, /sbin) nobody else sees."""
    if os.environ.get(INSIDE):
        mount_proc()
        return
    if os.geteuid() != 0:
        raise CannotRun("this needs root")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child",
                          "--propagation", "private", sys.executable, *sys.argv])


def mount_proc():
    """A /proc for our processes, but with the machine's own /proc/locks: only there are locks shown
    whose process has ended (generic/504)."""
    with tempfile.NamedTemporaryFile() as outer:
        run("mount", "--bind", "/proc/locks", outer.name)
        run("mount", "-t", "proc", "proc", "/proc")
        run("mount", "--bind", outer.name, "/proc/locks")
        run("umount", outer.name)


def run(*command, **arguments):
    """Runs a command that must succeed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **arguments)
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout


class Place:
    """A directory for images and mounts, gone at the end."""

    def __init__(self, options):
        self.options = options
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="ourofs-conformance.", dir=options.work))
        self.path.chmod(0o755)
        self.devices = []
        atexit.register(self.remove)

    def directory(self, name):
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def device(self, name):
        """A loop device with a new file system of the kind that was asked for."""
        image = self.path / name
        with open(image, "wb") as file:
            file.truncate(size_in_bytes(self.options.size))
        run(*MAKE_FS[self.options.backing], image)
        device = run("losetup", "--find", "--show", image).strip()
        self.devices.append(device)
        return device

    def backing(self, name):
        """The same, mounted."""
        directory = self.directory(name)
        run("mount", self.device(name + ".image"), directory)
        return directory

    def remove(self):
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if str(self.path) in line.split(" ")[1]:
                subprocess.run(["umount", "-l", line.split(" ")[1]], check=False)
        for device in self.devices:
            subprocess.run(["losetup", "--detach", device], check=False)
        shutil.rmtree(self.path, ignore_errors=True)


def size_in_bytes(text):
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not match:
        raise CannotRun(f"'{text}' is not a size, as 10G is")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


def require_program(path):
    if not os.access(path, os.X_OK):
        raise CannotRun(f"there is no {path}: build it with ./run build")
    return path


class Progress:
    """One line on stderr that says where a run is."""

    def __init__(self, total):
        self.total = total
        self.counts = collections.Counter()
        self.width = 0

    def show(self, name, seconds=0):
        done = sum(self.counts.values())
        line = f"[{done}/{self.total or '?'}] {name} {seconds:.0f} s"
        line += "".join(f", {count} {status}" for status, count in self.counts.items())
        if sys.stderr.isatty():
            print(f"\r{line:{self.width}}", end="", file=sys.stderr, flush=True)
            self.width = len(line)

    def add(self, result):
        self.counts[result.status] += 1
        self.show(result.name, result.seconds)
        if not sys.stderr.isatty():
            print(f"[{sum(self.counts.values())}/{self.total or '?'}] {result.name} "
                  f"{result.status} {result.seconds:.0f} s", file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print(file=sys.stderr)


def descendants(pid):
    """All processes below `pid`, itself included."""
    children = collections.defaultdict(list)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name may contain anything, so count from behind it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children[parent].append(int(stat.parent.name))
    found = [pid]
    for process in found:
        found += children[process]
    return found


def end_all(pid):
    """Kills `pid` and everything that it has started."""
    for process in reversed(descendants(pid)):
        try:
            os.kill(process, 9)
        except ProcessLookupError:
            pass


def expected_failures(suite, backing, options):
    """{test: reason} of the list in the repository, as far as it is about this mode."""
    expected = {}
    for line in EXPECTED.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 5 or cells[0] != suite:
            continue
        condition = cells[2]
        if condition in ("any", f"backing={backing}") or condition in options.split(","):
            expected[cells[1]] = cells[3]
    return expected


class Report:
    """What is to be said of a run: the results, what native says of those that failed, and the
    list in the repository."""

    def __init__(self, suite, title, results, native, expected):
        self.suite, self.title = suite, title
        self.results, self.native, self.expected = results, native, expected

    def verdict(self, result):
        """Why a failure is none of ours, or that it is."""
        native = self.native.get(result.name)
        if native and native.status == FAILED and result.failures <= native.failures:
            return "natively as well"
        if result.name in self.expected:
            return "listed: " + self.expected[result.name]
        return "UNEXPECTED"

    def of(self, status):
        return [result for result in self.results if result.status == status]

    def unexpected(self):
        return [result for result in self.of(FAILED) if self.verdict(result) == "UNEXPECTED"]

    def lines(self):
        checks = sum(result.checks for result in self.results)
        yield f"{self.title}: {len(self.results)} tests, {checks} checks"
        for status in (PASSED, NOT_RUN, FAILED):
            yield f"  {status:8} {len(self.of(status))}"
        for result in self.of(FAILED):
            yield f"  {result.name}: {self.verdict(result)}: {result.detail}"
        reasons = collections.Counter(result.detail for result in self.of(NOT_RUN))
        for reason, count in reasons.most_common():
            yield f"  not run, {count}: {reason}"
        passed = {result.name for result in self.of(PASSED)}
        for name in sorted(passed & set(self.expected)):
            yield f"  {name} is listed, and passed"

    def junit(self):
        suite = xml.Element("testsuite", name=self.title, tests=str(len(self.results)),
                            failures=str(len(self.of(FAILED))), skipped=str(len(self.of(NOT_RUN))))
        for result in self.results:
            case = xml.SubElement(suite, "testcase", classname=self.suite, name=result.name,
                                  time=f"{result.seconds:.1f}")
            if result.status == FAILED:
                text = f"{self.verdict(result)}: {result.detail}"
                xml.SubElement(case, "failure", message=text)
            elif result.status == NOT_RUN:
                xml.SubElement(case, "skipped", message=result.detail)
        xml.indent(suite)
        return xml.tostring(suite, encoding="unicode") + "\n"

    def markdown(self):
        yield f"### {self.title}\n\n| test | result | s | |\n|---|---|--:|---|"
        for result in self.results:
            said = result.detail
            if result.status == FAILED:
                said = f"{self.verdict(result)}: {said}"
            said = said.replace("|", "\\|")
            yield f"| {result.name} | {result.status} | {result.seconds:.0f} | {said} |"

    def publish(self, options):
        print("\n".join(self.lines()))
        if options.junit:
            pathlib.Path(options.junit).write_text(self.junit())
        if options.markdown:
            pathlib.Path(options.markdown).write_text("\n".join(self.markdown()) + "\n")
        return 1 if self.unexpected() else 0


def main(body):
    """Exit code: 0 nothing unexpected failed, 1 something did, 2 it could not run."""
    # The first process of a namespace is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        enter_own_world()
        started = time.monotonic()
        status = body()
        print(f"  {time.monotonic() - started:.0f} s")
        sys.exit(status)
    except CannotRun as reason:
        print(f"{pathlib.Path(sys.argv[0]).name}: {reason}", file=sys.stderr)
        sys.exit(2)
