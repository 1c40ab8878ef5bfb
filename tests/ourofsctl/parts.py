"""What a comparison consists of: columns, workloads, readers of what other programs say, counters,
the estimate of the time left, the command line, and its documents."""

import argparse
import contextlib
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import made_up  # pylint: disable=unused-import

from ourofs_compare import runner as runners
from ourofs_compare import (columns, command_line, failure, fio, machine, mounts, processes, progress,
                            sample, system_calls, trees, workloads)

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIO_OUTPUT = """fio: a warning
{"jobs": [{
  "read": {"total_ios": 0, "iops": 0, "runtime": 0, "clat_ns": {}},
  "write": {"total_ios": 3000, "iops": 1500.0, "runtime": 2000,
            "clat_ns": {"percentile": {"50.000000": 640, "99.000000": 9900}}}}]}
"""


class Columns(unittest.TestCase):
    def test_a_column_expects_what_its_options_name(self):
        column = columns.ours("backing=inline,max_write=4K,writeback")
        self.assertEqual(column.name, "ourofs backing=inline,max_write=4K,writeback")
        self.assertEqual(column.expected(), {"backing": "inline", "writeback": "on"})
        said = {"backing": "inline", "writeback": "on", "metadata": "nested"}
        self.assertEqual(column.differences(said), [])
        self.assertEqual(column.differences({**said, "backing": "ring"}),
                         ["backing=ring instead of inline"])
        self.assertEqual(column.differences({"backing": "inline"}),
                         ["writeback=(not said) instead of on"])
        self.assertEqual(columns.ours("").differences({}), [])
        self.assertEqual(columns.ours("backing=auto,cache=auto").expected(), {"cache": "auto"})

    def test_every_mode_names_something_that_can_be_proved(self):
        for mode in columns.MODES:
            named = columns.ours(mode.options).expected()
            self.assertEqual(len(named), len(list(filter(None, mode.options.split(",")))))

    def test_peers_are_read_or_refused(self):
        made = columns.peer("other fs=mounter -o 'a b' {source} {mountpoint}")
        self.assertEqual((made.name, made.kind), ("other fs", "peer"))
        self.assertEqual(made.command, ("mounter", "-o", "a b", "{source}", "{mountpoint}"))
        for text in ("nothing", "=mounter {source} {mountpoint}", "a=mounter {source}",
                     "a=mounter '{source} {mountpoint}"):
            with self.assertRaises(failure.Failure) as caught:
                columns.peer(text)
            self.assertEqual(caught.exception.code, failure.USAGE)

    def test_what_ourofs_says_is_read(self):
        line = ("ourofs: serving '/a backing=x' on '/b' transport=dev backing=ring metadata=inline "
                "locks=local cache=auto writeback=off loops=2 protocol=7.45")
        pairs = mounts.pairs_of(line)
        self.assertEqual((pairs["backing"], pairs["loops"]), ("ring", "2"))


class Chosen(unittest.TestCase):
    """By a program that says of options what ourofs would say."""

    def setUp(self):
        # pylint: disable=consider-using-with
        directory = tempfile.TemporaryDirectory(prefix="ourofsctl-parts.")
        self.addCleanup(directory.cleanup)
        self.program = pathlib.Path(directory.name) / "ourofs"
        self.program.write_text(
            "#!/bin/sh\n"
            "case \"$*\" in *transport*) echo \"ourofs: unknown option 'transport'\"; exit 1 ;;\n"
            "*kernel*) echo \"ourofs: 'kernel' is not ring or inline\"; exit 1 ;; esac\n"
            "echo 'ourofs: no such source'; exit 2\n")
        self.program.chmod(0o755)
        self.report = {"backing": "ring", "metadata": "inline", "loops": "2", "cache": "auto",
                       "writeback": "off"}

    def choose(self, **changed):
        settings = argparse.Namespace(ourofs=str(self.program), modes="^ourofs", preset="full",
                                      mode=[], peer=[])
        vars(settings).update(changed)
        chosen, notes = columns.choose(settings, self.report)
        return [column.name for column in chosen], notes

    def test_modes_that_the_program_lacks_are_noted(self):
        names, notes = self.choose()
        self.assertEqual(names, ["native", "ourofs", "ourofs backing=inline",
                                 "ourofs metadata=auto", "ourofs metadata=nested",
                                 "ourofs loops=1", "ourofs cache=never", "ourofs cache=always",
                                 "ourofs writeback"])
        self.assertIn("without 'ourofs transport=ring': this ourofs does not have it: unknown option "
                      "'transport'", notes)
        self.assertIn("without 'ourofs backing=kernel': this ourofs does not have it: 'kernel' is "
                      "not ring or inline", notes)
        # What it does by itself is no column of its own, and nothing to be told.
        self.assertFalse([note for note in notes if "backing=ring'" in note])

    def test_the_default_decides_what_is_a_column_of_its_own(self):
        self.report["backing"] = "inline"
        names, _ = self.choose(modes="backing|^ourofs$")
        self.assertEqual(names, ["native", "ourofs", "ourofs backing=ring"])

    def test_further_modes_and_peers_are_appended(self):
        names, _ = self.choose(modes="^ourofs$", mode=["loops=4"],
                               peer=["other=mounter {source} {mountpoint}"])
        self.assertEqual(names, ["native", "ourofs", "ourofs loops=4", "other"])
        names, _ = self.choose(preset="short")
        self.assertEqual(names, ["native", "ourofs", "ourofs backing=inline"])

    def test_mistakes_are_told(self):
        for changed in ({"mode": ["transport=ring"]}, {"mode": ["loops=4", "loops=4"]},
                        {"modes": "nonsense"}, {"peer": ["native=a {source} {mountpoint}"]}):
            with self.assertRaises(failure.Failure) as caught:
                self.choose(**changed)
            self.assertEqual(caught.exception.code, failure.USAGE)


class Workloads(unittest.TestCase):
    def test_names_are_unique_and_the_short_ones_exist(self):
        names = [each.name for each in workloads.every()]
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual(set(workloads.SHORT), set(names))
        chosen, _ = workloads.choose(None, "short")
        self.assertEqual({each.name for each in chosen}, set(workloads.SHORT))
        chosen, _ = workloads.choose("^unpack", "short")
        self.assertEqual([each.name for each in chosen], ["unpack"])

    def test_fio_commands_do_what_their_names_say(self):
        settings = argparse.Namespace(size=64)
        for each in workloads.every():
            if each.group != "data":
                continue
            command = " ".join(each.command(settings, 0.25))
            self.assertEqual("--direct=1" in command, "direct" in each.name, each.name)
            self.assertEqual("--time_based" in command, "cold" not in each.name, each.name)
            self.assertEqual("--iodepth=32" in command, "depth 32" in each.name, each.name)
            self.assertEqual("--numjobs=4" in command, "4 jobs" in each.name or "4 x" in each.name)
            self.assertEqual("$jobnum" in command, "4 x" in each.name, each.name)
            self.assertIn("--bs=1M" if "1 MiB" in each.name else "--bs=4k", command)
            self.assertIn("--runtime=250ms", command)
            order = "" if "1 MiB" in each.name else "rand"
            way = "read" if "read" in each.name else "write"
            self.assertIn(f"--rw={order}{way} ", command)

    def test_the_output_of_fio_is_read(self):
        got = fio.read(FIO_OUTPUT)
        self.assertEqual((got.operations, got.seconds, got.p50_ns, got.p99_ns), (3000, 2, 640, 9900))
        with self.assertRaises(sample.RunFailed):
            fio.read(FIO_OUTPUT.replace('"total_ios": 3000', '"total_ios": 0'))

    def test_programs_that_fail_or_hang_are_told(self):
        self.assertEqual(sample.execute(["echo", 5]), "5\n")
        self.assertEqual(sample.execute(["sh", "-c", "exit 3"], good=(3,)), "")
        self.addCleanup(setattr, sample, "LIMIT_S", sample.LIMIT_S)
        sample.LIMIT_S = 0.2
        for words, text in ((["cat", "/nowhere"], "cat: /nowhere: No such file or directory"),
                            (["/bin/false"], "false: exit code 1"),
                            (["sleep", 60], "sleep: it did not end within 0.2 s")):
            with self.assertRaises(sample.RunFailed) as caught:
                sample.execute(words)
            self.assertEqual(str(caught.exception), text)

    def test_the_tree_is_always_the_same(self):
        with tempfile.TemporaryDirectory() as directory:
            paths = [pathlib.Path(directory) / name for name in ("a", "b")]
            for path in paths:
                trees.make_archive(path, 45)
            self.assertEqual(paths[0].read_bytes(), paths[1].read_bytes())
            listed = sample.execute(["tar", "-tf", paths[0]])
            self.assertEqual(len(listed.split()), 45)


class Processes(unittest.TestCase):
    def busy(self):
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            ["sh", "-c", "while :; do read -r line </proc/uptime; done"], stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_cpu_time_is_that_of_the_process(self):
        process = self.busy()
        time.sleep(0.2)
        first = processes.cpu_ns([process.pid])
        time.sleep(0.2)
        second = processes.cpu_ns([process.pid])
        self.assertGreater(second, first)
        self.assertLess(second - first, 5e9)
        self.assertIsNone(processes.cpu_ns([]))
        self.assertIsNone(processes.cpu_ns([2 ** 22 + 1]))  # above any pid

    def test_descendants_are_found_and_ended(self):
        process = self.busy()
        self.assertIn(process.pid, processes.descendants(os.getpid()))
        processes.KILL_AFTER_S, before = 0.2, processes.KILL_AFTER_S
        self.addCleanup(setattr, processes, "KILL_AFTER_S", before)
        processes.end([process.pid])
        self.assertFalse(processes.is_alive(process.pid))
        self.assertNotIn(process.pid, processes.descendants(os.getpid()))

    def test_missing_programs_name_their_package(self):
        with self.assertRaisesRegex(failure.Failure, "there is no nonsense: apt install nonsense"):
            processes.require("nonsense")


class Counting(unittest.TestCase):
    def test_counts_are_read(self):
        perf = system_calls.Perf().parse("1234,,raw_syscalls:sys_enter,639377,100.00,,\n")
        self.assertEqual(perf, 1234)
        refused = "<not supported>,,raw_syscalls:sys_enter,0,0,,\n"
        self.assertIsNone(system_calls.Perf().parse(refused))
        strace = system_calls.Strace().parse("strace: Process 1 attached\n    calls syscall\n"
                                             "--------- ----------------\n"
                                             "       40 write\n        2 read\n"
                                             "--------- ----------------\n       42 total\n")
        self.assertEqual(strace, 42)

    def test_each_counter_that_is_there_counts(self):
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            best = system_calls.choose(stack, pathlib.Path(directory))
            for counter in (system_calls.Perf(), system_calls.Strace()):
                with subprocess.Popen(["sh", "-c", "while :; do read -r a </proc/uptime; done"],
                                      stdin=subprocess.DEVNULL) as process:
                    try:
                        _, calls = system_calls.count(counter, [process.pid], lambda: time.sleep(0.3))
                    except FileNotFoundError:
                        continue
                    finally:
                        process.kill()
                if calls is None:
                    self.assertNotIsInstance(best, type(counter))
                    continue
                self.assertGreater(calls, 10, counter.name)
        self.assertEqual(system_calls.count(system_calls.NoCounter(), [], lambda: 5), (5, None))


class Machine(unittest.TestCase):
    def test_busy_and_stolen_time_are_shares_of_what_passed(self):
        before = machine.CpuTimes("cpu 100 0 0 900 0 0 0 0 0 0")
        after = machine.CpuTimes("cpu 140 5 5 1030 10 0 0 10 0 0")
        self.assertAlmostEqual(after.busy_cpus_since(before, 4), 4 * 50 / 200)
        self.assertAlmostEqual(after.stolen_share_since(before), 10 / 200)
        watch = machine.Watch()
        self.assertEqual(watch.warnings(), [])
        watch.stolen(before, after)
        watch.busiest = 1.5
        said = "\n".join(watch.warnings())
        self.assertIn("others used up to 1.5 of", said)
        self.assertIn("steal time: up to 5%", said)


class Undoing(unittest.TestCase):
    def test_a_signal_waits_until_all_is_undone(self):
        handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGTERM, handler)
        undone = []

        def undo(name):
            os.kill(os.getpid(), signal.SIGTERM)
            undone.append(name)

        with self.assertRaises(runners.Interrupted) as caught:
            with runners.Undo() as stack:
                stack.callback(undo, "first")
                stack.callback(undo, "last")
        self.assertEqual((undone, caught.exception.number), (["last", "first"], signal.SIGTERM))
        # What ended it is not hidden by a signal.
        with self.assertRaises(failure.Failure):
            with runners.Undo() as stack:
                stack.callback(undo, "again")
                raise failure.Failure("text")
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)


class Rounds(unittest.TestCase):
    """The order of the runs, with runs that do nothing."""

    def go(self, rounds, budget_s, run_s):
        runner = runners.Runner.__new__(runners.Runner)
        runner.settings = argparse.Namespace(rounds=rounds, on=["source", "tmpfs"], budget_s=budget_s)
        runner.begin = time.monotonic()
        runner.watch = argparse.Namespace(quiet_window=lambda: None)
        runner.comparison = argparse.Namespace(workloads=["work"], notes=[])
        columns_of_it = [argparse.Namespace(column=argparse.Namespace(name=name)) for name in "ABC"]
        runner.estimate = progress.Estimate([(ground, name, number) for ground in runner.settings.on
                                             for number in range(rounds + 1) for name in "ABC"])
        done = []

        def turn(ground, _workload, mounted, _place, number):
            time.sleep(run_s)
            done.append((number, mounted.column.name))
            runner.estimate.done((ground.name, mounted.column.name, number), run_s)

        runner.turn = turn
        runner.go_through_rounds(argparse.Namespace(name="source"), columns_of_it,
                                 dict.fromkeys("ABC"))
        return runner, done

    def test_columns_take_turns_and_each_is_first(self):
        runner, done = self.go(3, None, 0)
        self.assertEqual("".join(name for _, name in done), "ABCBCACABABC")
        self.assertEqual([number for number, _ in done], sorted([0, 1, 2, 3] * 3))
        self.assertEqual(runner.comparison.notes, [])
        self.assertEqual(len(runner.estimate.left), 12)  # of the other ground

    def test_the_budget_ends_the_rounds(self):
        runner, done = self.go(50, 1.0, 0.02)
        rounds = done[-1][0]
        self.assertLess(rounds, 15)  # half of the budget is that of the other ground
        self.assertIn(f"source: {rounds} rounds instead of 50", runner.comparison.notes[0])
        self.assertEqual({step[0] for step in runner.estimate.left}, {"tmpfs"})
        # What is far too slow is measured once.
        self.assertEqual(self.go(5, 0.01, 0.02)[1][-1][0], 1)


class Progress(unittest.TestCase):
    def test_the_estimate_is_made_of_what_steps_took(self):
        estimate = progress.Estimate(["a", "b", "a", "b", "c"])
        self.assertIsNone(estimate.seconds_left())
        estimate.done("a", 10)
        self.assertEqual(estimate.seconds_left(), 40)
        estimate.done("b", 2)
        self.assertEqual(estimate.seconds_left(), 10 + 2 + 6)
        estimate.skip(["c"])
        self.assertEqual((estimate.seconds_left(), estimate.finished, estimate.total), (12, 2, 4))

    def test_times_are_written_as_on_a_clock(self):
        self.assertEqual([progress.clock(each) for each in (5, 65, 3700)],
                         ["0:05", "1:05", "1:01:40"])

    def test_the_bar_shows_the_time_left(self):
        try:
            bar = progress._Bar()  # pylint: disable=protected-access
        except failure.Failure as missing:
            self.skipTest(str(missing))
        bar.bar.live.console.file = io.StringIO()
        estimate = progress.Estimate(["a"] * 3)
        estimate.done("a", 30)
        bar.start()
        bar.show(estimate, "what is done")
        shown = bar.bar.tasks[0]
        bar.stop()
        self.assertEqual((shown.completed, shown.total), (1, 3))
        self.assertEqual((shown.description, shown.fields["left"]), ("what is done", "1:00 left"))


class CommandLine(unittest.TestCase):
    def run_program(self, *arguments):
        return subprocess.run([ROOT / "bench/ourofsctl", *arguments], capture_output=True, text=True,
                              check=False)

    def expect_mistake(self, text, *arguments, code=failure.USAGE):
        done = self.run_program(*arguments)
        self.assertEqual((done.returncode, done.stdout), (code, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertRegex(done.stderr, "^ourofsctl: " + text)

    def test_mistakes_are_one_line(self):
        self.expect_mistake("cannot open '/nowhere': No such file or directory$", "compare",
                            "/nowhere", code=failure.SYSTEM)
        self.expect_mistake("cannot open '/etc/passwd': Not a directory$", "compare", "/etc/passwd",
                            code=failure.SYSTEM)
        self.expect_mistake("cannot open '/nowhere': No such file or directory$", "compare", "/",
                            "--ourofs", "/nowhere", code=failure.SYSTEM)
        self.expect_mistake(r".*required: COMMAND \(try 'ourofsctl --help'\)$")
        self.expect_mistake(".*required: SOURCE", "compare")
        self.expect_mistake(".*'0' is not a number above 0", "compare", "/", "--rounds", "0")
        self.expect_mistake(".*'5' is not a multiple of 4", "compare", "/", "--size", "5")
        self.expect_mistake(".*'ram' is not source, zram or tmpfs", "compare", "/", "--on", "ram")
        self.expect_mistake(r".*'\(' is not a pattern", "compare", "/", "--modes", "(")
        self.expect_mistake("the command of peer 'a' lacks {mountpoint}", "compare", "/", "--peer",
                            "a=b {source}")

    def test_the_list_has_all_names(self):
        done = self.run_program("compare", "--list")
        self.assertEqual(done.returncode, 0)
        lines = [line.strip() for line in done.stdout.splitlines()]
        for each in workloads.every():
            self.assertIn(each.name, lines)
        self.assertIn("ourofs backing=inline", lines)

    def test_it_runs_where_it_is_installed(self):
        with tempfile.TemporaryDirectory() as prefix:
            program = pathlib.Path(prefix) / "bin/ourofsctl"
            program.parent.mkdir()
            shutil.copy(ROOT / "bench/ourofsctl", program)
            modules = pathlib.Path(prefix) / "share/ourofs/ourofs_compare"
            shutil.copytree(ROOT / "bench/ourofs_compare", modules)
            done = subprocess.run([program, "compare", "--list"], capture_output=True, text=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertFalse((modules / "__pycache__").exists())
            shutil.rmtree(modules)
            done = subprocess.run([program, "compare"], capture_output=True, text=True, check=False)
            self.assertRegex(done.stderr, "^ourofsctl: cannot open '.*': No such file or directory$")

    def test_options_are_documented(self):
        compare = command_line.parser()._subparsers._group_actions[0].choices["compare"]
        options = {word for action in compare._actions for word in action.option_strings
                   if word.startswith("--")}
        self.assertIn("--peer", options)
        manual = (ROOT / "docs/ourofsctl.8").read_text()
        listed = re.findall(r"^\.It .*?Fl \\-([a-z]+)", manual, re.MULTILINE)
        self.assertEqual({f"--{name}" for name in listed}, options)
        completion = (ROOT / "docs/ourofsctl.bash-completion").read_text()
        completed = set(re.findall(r"--[a-z]+", completion))
        self.assertEqual(completed, options)


if __name__ == "__main__":
    sys.exit(unittest.main())
