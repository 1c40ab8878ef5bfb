"""The columns of a comparison: the directory itself, mounts of ours by their options, and peers."""

import dataclasses
import functools
import os
import pathlib
import re
import shlex
import shutil
import subprocess

from .failure import USAGE, Failure

NATIVE, OURS, PEER = "native", "ours", "peer"

# What ourofs says of itself when it serves, and says again of every loop in its statistics.
REPORTED = ("transport", "backing", "metadata", "loops", "cache", "writeback")
HINT = " (try 'ourofs --help')"
ENABLE_URING = "/sys/module/fuse/parameters/enable_uring"


@dataclasses.dataclass(frozen=True)
class Column:
    """One side of the comparison. `options` are those of ourofs; `command` is that of a peer, with
    {source} and {mountpoint} to be filled in."""

    name: str
    kind: str
    options: str = ""
    command: tuple = ()

    def expected(self):
        """{word: value} that ourofs must say to be at work: what the options name, no more."""
        named = {}
        for option in filter(None, self.options.split(",")):
            word, _, value = option.partition("=")
            # What is left to ourofs can be anything, unless "auto" is a mode of its own.
            if word in REPORTED and (value != "auto" or word in ("cache", "metadata")):
                named[word] = value or "on"
        return named

    def differences(self, reported):
        """What is at work and is not what the column names, as text; empty where all is right."""
        return [f"{word}={reported.get(word, '(not said)')} instead of {value}"
                for word, value in self.expected().items() if reported.get(word) != value]


@dataclasses.dataclass(frozen=True)
class Mode:
    """A row of the list of our modes: options, whether the short preset has it, and the reason why
    this machine cannot have it, where there is one."""

    options: str
    short: bool = False
    obstacle: object = lambda: None


def _no_uring_transport():
    try:
        enabled = pathlib.Path(ENABLE_URING).read_text().strip() in ("Y", "1")
    except OSError:
        return "this kernel has no FUSE over io_uring"
    return None if enabled else f"FUSE over io_uring is switched off (echo Y > {ENABLE_URING})"


# A mode that is what ourofs does by itself is left out, so every value of an option can be here.
MODES = (
    Mode("", short=True),
    Mode("backing=ring", short=True),
    Mode("backing=inline", short=True),
    Mode("backing=kernel", short=True),
    Mode("metadata=auto"),
    Mode("metadata=inline"),
    Mode("metadata=nested"),
    Mode("loops=1"),
    Mode("cache=never"),
    Mode("cache=always"),
    Mode("writeback"),
    Mode("transport=dev", short=True),
    Mode("transport=ring", short=True, obstacle=_no_uring_transport),
    Mode("transport=ring,backing=inline", obstacle=_no_uring_transport),
    Mode("transport=ring,backing=kernel", obstacle=_no_uring_transport),
    Mode("transport=ring,metadata=auto", obstacle=_no_uring_transport),
    Mode("transport=ring,metadata=nested", obstacle=_no_uring_transport),
)


def ours(options):
    return Column(f"ourofs {options}".strip(), OURS, options=options)


def native():
    return Column("native", NATIVE)


def peer(text):
    """The column of --peer NAME=COMMAND."""
    name, separator, command = text.partition("=")
    if not separator or not re.fullmatch(r"\S(.*\S)?", name):
        raise Failure(f"'{text}' is not NAME=COMMAND", USAGE)
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise Failure(f"the command of peer '{name}' cannot be read: {error}", USAGE) from error
    for place in ("{source}", "{mountpoint}"):
        if not any(place in word for word in words):
            raise Failure(f"the command of peer '{name}' lacks {place}", USAGE)
    return Column(name, PEER, command=words)


def _answer(ourofs, *arguments):
    """What ourofs says where there is no source: of its options, if they are wrong."""
    nowhere = "/nonexistent/ourofsctl"
    done = subprocess.run([ourofs, "-f", *arguments, nowhere, nowhere], check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.stdout.strip()


@functools.lru_cache
def _answer_to_none(ourofs):
    return _answer(ourofs)


def refusal(ourofs, options):
    """What ourofs says against these options, or None if it knows them. Nothing is mounted."""
    said = _answer(ourofs, "-o", options)
    if said == _answer_to_none(ourofs):
        return None
    first = (said or "it said nothing").splitlines()[0]
    return first.removeprefix("ourofs: ").removesuffix(HINT)


def choose(settings, default_report):
    """([Column], [note]): native, our modes that this program and machine have and that --modes
    matches, bindfs where it is installed, and the peers that were asked for.

    `default_report` is what ourofs says of itself without options."""
    chosen, notes = [native()], []
    for mode in MODES:
        column = ours(mode.options)
        if not re.search(settings.modes, column.name):
            continue
        if settings.preset == "short" and not mode.short:
            continue
        reason = _reason_against(mode, column, settings.ourofs, default_report)
        if reason is None:
            chosen.append(column)
        elif reason:
            notes.append(f"without '{column.name}': {reason}")
    for options in settings.mode:
        complaint = refusal(settings.ourofs, options)
        if complaint:
            raise Failure(f"ourofs does not take --mode '{options}': {complaint}", USAGE)
        chosen.append(ours(options))
    peers = [peer(text) for text in settings.peer]
    bindfs = shutil.which("bindfs")
    if re.search(settings.modes, "bindfs") and "bindfs" not in [each.name for each in peers]:
        if bindfs:
            alone = () if os.geteuid() == 0 else ("--no-allow-other",)  # what users may not allow
            command = (bindfs, *alone, "{source}", "{mountpoint}")
            peers.insert(0, Column("bindfs", PEER, command=command))
        else:
            notes.append("without bindfs: it is not installed (apt install bindfs)")
    chosen += peers
    names = [column.name for column in chosen]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"there are two columns '{name}'", USAGE)
    if len(chosen) == 1:
        raise Failure(f"no mode matches '{settings.modes}', and there is no peer", USAGE)
    return chosen, notes


def _reason_against(mode, column, ourofs, default_report):
    """Why a mode is left out: None if it is not, empty if nobody need be told."""
    if not mode.options:
        return None
    complaint = refusal(ourofs, mode.options)
    if complaint:
        return f"this ourofs does not have it: {complaint}"
    expected = column.expected()
    if all(default_report.get(word) == value for word, value in expected.items()):
        return ""
    return mode.obstacle()


def program(path):
    """The absolute path of ourofs, or a Failure."""
    if not os.path.exists(path):
        raise Failure(f"cannot open '{path}': No such file or directory")
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        raise Failure(f"cannot run '{path}': Permission denied")
    return os.path.abspath(path)
