"""The command line of ourofsctl."""

import argparse
import os
import pathlib
import re
import shutil
import signal
import time

from . import columns, grounds, page, plots, progress, report
from .failure import SYSTEM, USAGE, Failure, of_os_error
from .runner import Interrupted, Runner

HERE = pathlib.Path(__file__).resolve().parent
# What a preset gives to what the user does not say. The budget is what one comparison may take,
# from the start to the last round; the report and the undoing take seconds more.
PRESETS = {
    "short": {"seconds": 0.3, "size": 64, "tree": 500, "rounds": 5, "on": "source", "budget_s": 270},
    "full": {"seconds": 1.0, "size": 256, "tree": 5000, "rounds": 5, "on": "source,zram,tmpfs",
             "budget_s": None},
}
EPILOG = """\
Results are printed and written to the output directory: table.txt, table.md, results.json, plots as
PNG and SVG, and report.html, which needs no other file. Whatever is mounted or made for the
measurement is undone at the end, also after Ctrl-C.

Exit codes: 0 measured, 1 usage, 2 a system error or a run that failed, 32 a mount failed or ran in
another mode than its column names.
"""


class _Parser(argparse.ArgumentParser):
    """Mistakes are one line and exit code 1, as ourofs has it."""

    def error(self, message):
        raise Failure(f"{message} (try 'ourofsctl --help')", USAGE)


def _positive(kind):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 1e9:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
        return value
    return parse


def _pattern(text):
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a pattern: {error}") from error
    return text


def _grounds(text):
    names = text.split(",")
    for name in names:
        if name not in grounds.NAMES:
            raise argparse.ArgumentTypeError(f"'{name}' is not source, zram or tmpfs")
    return list(dict.fromkeys(names))


def _size(text):
    """MiB of a data file: jobs share it in four."""
    value = _positive(int)(text)
    if value % 4:
        raise argparse.ArgumentTypeError(f"'{text}' is not a multiple of 4")
    return value


def parser():
    main = _Parser(prog="ourofsctl", description="Measures mounts of ourofs.")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare", help="compare our modes with the directory itself and with peers",
        description="Runs the same workloads on a directory, on mounts of it by every mode of "
                    "ourofs, and on mounts of it by peers, interleaved, and reports how they "
                    "compare.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    compare.add_argument("source", metavar="SOURCE",
                         help="a directory on the disk that is to be measured; only a new directory "
                              "in it is used, and removed at the end")
    compare.add_argument("--preset", choices=PRESETS, default="full",
                         help="short: some workloads and modes, in less than 5 minutes; full: all "
                              "(the default)")
    compare.add_argument("--rounds", type=_positive(int), metavar="N",
                         help="how often everything is measured (5; in the short preset fewer, if "
                              "time is short)")
    compare.add_argument("--on", type=_grounds, metavar="LIST",
                         help="what is mounted: source, zram (an ext4 there), tmpfs (all three; in "
                              "the short preset source)")
    compare.add_argument("--workloads", type=_pattern, metavar="REGEX",
                         help="only those that match, of all; --list shows them")
    compare.add_argument("--modes", type=_pattern, default="", metavar="REGEX",
                         help="of our columns and bindfs only those whose name matches, as in "
                              "'^ourofs( backing=inline)?$'")
    compare.add_argument("--mode", action="append", default=[], metavar="OPTIONS",
                         help="a further column: ourofs with these mount options; can be repeated")
    compare.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND",
                         help="a further column: what COMMAND mounts, in which {source} and "
                              "{mountpoint} are filled in; can be repeated")
    compare.add_argument("--output", metavar="DIR",
                         help="where results are written (ourofs-compare-DATE-TIME)")
    compare.add_argument("--json", action="store_true",
                         help="print the results as JSON instead of tables")
    compare.add_argument("--seconds", type=_positive(float), metavar="S",
                         help="how long one run takes (1; short: 0.3)")
    compare.add_argument("--size", type=_size, metavar="MIB",
                         help="of the data file (256; short: 64)")
    compare.add_argument("--tree", type=_positive(int), metavar="FILES",
                         help="files in the tree of small files (5000; short: 500)")
    compare.add_argument("--ourofs", metavar="PATH", help="the program that is measured")
    compare.add_argument("--load", metavar="PATH", help="the load generator, ouro-load")
    compare.add_argument("--list", action=_List, help="print the names of all workloads and modes")
    return main


class _List(argparse.Action):
    """Prints what --workloads and --modes choose from, and ends the program."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        from .workloads import every  # pylint: disable=import-outside-toplevel
        print("workloads:", *(f"  {each.name}" for each in every()), sep="\n")
        print("modes:", *(f"  {columns.ours(each.options).name}" for each in columns.MODES),
              "  bindfs", sep="\n")
        parser.exit()


def _beside(*places):
    """The first of these that is there, or None."""
    return next((str(path) for path in places if os.access(path, os.X_OK)), None)


def _find_programs(settings):
    build = HERE.parents[1] / "build/release"  # of a checkout
    prefix = HERE.parents[2]                   # of what is installed
    if settings.ourofs is None:
        settings.ourofs = _beside(build / "mount-helper/ourofs", prefix / "bin/ourofs")
        settings.ourofs = settings.ourofs or shutil.which("ourofs")
    if settings.ourofs is None:
        raise Failure("there is no ourofs: build it with ./run build, or say --ourofs PATH")
    settings.ourofs = columns.program(settings.ourofs)
    if settings.load is None:
        of_ourofs = pathlib.Path(settings.ourofs).resolve().parents
        settings.load = _beside(of_ourofs[1] / "bench/load/ouro-load",
                                of_ourofs[1] / "libexec/ourofs/ouro-load",
                                prefix / "libexec/ourofs/ouro-load",
                                build / "bench/load/ouro-load")
    if settings.load is None:
        raise Failure("there is no ouro-load: build it with ./run build, or say --load PATH")
    settings.load = columns.program(settings.load)


def _complete(settings):
    """Fills in what the preset says, and finds what must be there."""
    preset = PRESETS[settings.preset]
    settings.budget_s = preset["budget_s"] if settings.rounds is None else None
    for name in ("rounds", "seconds", "size", "tree"):
        if getattr(settings, name) is None:
            setattr(settings, name, preset[name])
    if settings.on is None:
        # What only root can make is not asked for by leaving the option out.
        settings.on = _grounds(preset["on"] if os.geteuid() == 0 else "source")
    if not os.path.isdir(settings.source):
        try:
            os.close(os.open(settings.source, os.O_RDONLY | os.O_DIRECTORY))
        except OSError as error:
            raise of_os_error(f"cannot open '{settings.source}'", error) from error
    settings.source = os.path.abspath(settings.source)
    for text in settings.peer:
        columns.peer(text)  # before anything is mounted
    _find_programs(settings)


def _output_directory(settings):
    path = pathlib.Path(settings.output or time.strftime("ourofs-compare-%Y%m%d-%H%M%S"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise of_os_error(f"cannot make '{path}'", error) from error
    return path


def _write(comparison, directory):
    """All files of a report."""
    stems = []
    try:
        stems = plots.draw_all(comparison, directory)
    except ImportError:
        comparison.warnings.append("without plots: there is no matplotlib for Python "
                                   "(apt install python3-matplotlib)")
    files = {"table.txt": report.text(comparison), "table.md": report.markdown(comparison),
             "results.json": report.as_json(comparison),
             "report.html": page.render(comparison, stems)}
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return files


def _compare(settings):
    _complete(settings)
    directory = _output_directory(settings)
    comparison = Runner(settings).compare()
    try:
        files = _write(comparison, directory)
    except OSError as error:
        raise of_os_error(f"cannot write to '{directory}'", error) from error
    print(files["results.json" if settings.json else "table.txt"], end="")
    for warning in comparison.warnings if settings.json else []:
        progress.tell(f"ourofsctl: warning: {warning}")
    progress.tell(f"ourofsctl: the report is in '{directory}'")
    return SYSTEM if comparison.failures() else 0


def main():
    """The exit code of the whole program."""
    try:
        settings = parser().parse_args()
        return _compare(settings)
    except Failure as failure:
        progress.tell(f"ourofsctl: {failure}")
        return failure.code
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        progress.tell(f"ourofsctl: {where}{error.strerror}")
        return SYSTEM
    except (Interrupted, KeyboardInterrupt) as error:
        number = getattr(error, "number", signal.SIGINT)
        progress.tell("ourofsctl: interrupted; everything is undone")
        return 128 + number
