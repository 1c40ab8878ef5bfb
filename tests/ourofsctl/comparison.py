"""Whole comparisons of a tiny size, by the real programs: their reports hold what was measured, what
is not what its column names makes them fail, and nothing is left behind.
Usage: comparison.py OUROFS OURO-LOAD
"""

import json
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
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOAD = os.path.abspath(sys.argv.pop())
OUROFS = os.path.abspath(sys.argv.pop())
TINY = ["--rounds", "1", "--seconds", "0.1", "--size", "8", "--tree", "20"]
WORKLOADS = ["4k random write, depth 1, buffered", "create-unlink, 1 thread", "unpack"]
NAMES = ["native", "ourofs", "ourofs backing=inline", "again"]
SKIPPED = 77


def skip_without_requirements():
    if shutil.which("fio") is None:
        print("skipped: there is no fio: apt install fio")
        sys.exit(SKIPPED)
    try:
        import matplotlib  # pylint: disable=import-outside-toplevel,unused-import
    except ImportError:
        print("skipped: there is no matplotlib for Python: apt install python3-matplotlib")
        sys.exit(SKIPPED)


def exactly(names):
    return "^(" + "|".join(map(re.escape, names)) + ")$"


class Comparison(unittest.TestCase):
    def setUp(self):
        # pylint: disable=consider-using-with
        self.directory = tempfile.TemporaryDirectory(prefix="ourofsctl-test.")
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)
        for name in ("source", "temporary", "output"):
            (self.path / name).mkdir()

    def command(self, *arguments, ourofs=OUROFS):
        return [ROOT / "bench/ourofsctl", "compare", self.path / "source", "--ourofs", ourofs,
                "--load", LOAD, "--output", self.path / "output", *TINY, *arguments]

    has_matplotlib = False  # which takes longer than all the rest

    def environment(self):
        changed = {"TMPDIR": str(self.path / "temporary")}
        if not self.has_matplotlib:
            hidden = self.path / "without"
            hidden.mkdir(exist_ok=True)
            (hidden / "matplotlib.py").write_text("raise ImportError")
            changed["PYTHONPATH"] = str(hidden)
        return {**os.environ, **changed}

    def compare(self, *arguments, ourofs=OUROFS):
        done = subprocess.run(self.command(*arguments, ourofs=ourofs), env=self.environment(),
                              text=True, capture_output=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=200)
        self.expect_nothing_left()
        return done

    def wrapper(self, text):
        """An ourofs that runs `text` instead where the options name a backing."""
        path = self.path / "wrapper"
        path.write_text(f'#!/bin/sh\ncase "$*" in *backing=*)\n{text}\nesac\nexec {OUROFS} "$@"\n')
        path.chmod(0o755)
        return path

    def expect_nothing_left(self):
        self.assertNotIn(self.directory.name, pathlib.Path("/proc/self/mountinfo").read_text())
        for name in ("source", "temporary"):
            self.assertEqual(os.listdir(self.path / name), [], name)
        for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = command.read_bytes().split(b"\0")
            except OSError:
                continue
            self.assertFalse(any(word.startswith(bytes(self.path / "temporary")) for word in words),
                             words)


class Reports(Comparison):
    has_matplotlib = True

    def test_they_hold_what_was_measured(self):
        done = self.compare("--on", "source", "--workloads", exactly(WORKLOADS), "--modes",
                            exactly(NAMES), "--peer", f"again={OUROFS} {{source}} {{mountpoint}}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        results = json.loads((self.path / "output/results.json").read_text())
        self.assertEqual([each["name"] for each in results["columns"]], NAMES)
        self.assertEqual({each["workload"] for each in results["cells"]}, set(WORKLOADS))
        self.assertEqual(len(results["cells"]), len(NAMES) * len(WORKLOADS))
        self.expect_modes(results)
        for cell in results["cells"]:
            self.expect_figures(cell)
        self.assertTrue([text for text in results["warnings"] if "too noisy to decide" in text])
        self.assertIn("[24/24] done", done.stderr)
        self.assertEqual(done.stdout, (self.path / "output/table.txt").read_text())
        self.expect_tables(results)
        self.expect_pictures(results)

    def expect_modes(self, results):
        backing = {each["column"]: each["reported"].get("backing") for each in results["mounts"]}
        self.assertEqual(backing["ourofs backing=inline"], "inline")
        self.assertIn(backing["ourofs"], ("ring", "kernel"))
        self.assertIsNone(backing["native"])

    def expect_figures(self, cell):
        self.assertIsNone(cell["failure"])
        run, = cell["runs"]
        self.assertGreater(run["operations"], 0)
        self.assertAlmostEqual(cell["figures"]["median"], run["operations"] / run["seconds"])
        served = cell["column"] != "native"
        self.assertEqual(run["cpu_ns"] is not None, served)
        if served:
            self.assertGreater(run["cpu_ns"], 0)
            self.assertIn("native", cell["ratios"])
            self.assertFalse(cell["ratios"]["native"]["decided"])  # of one round
        if cell["workload"] == "unpack":
            self.assertEqual(run["operations"], 20)
            self.assertIsNone(run["p50_ns"])
        else:
            self.assertGreater(run["p50_ns"], 0)
            self.assertGreaterEqual(run["p99_ns"], run["p50_ns"])
        if served and shutil.which("strace"):
            # At least a reply for each operation, but for writes that several loops collect.
            self.assertGreater(cell["figures"]["calls"], 0.2)

    def expect_tables(self, results):
        text = (self.path / "output/table.txt").read_text()
        markdown = (self.path / "output/table.md").read_text()
        html = (self.path / "output/report.html").read_text()
        for cell in results["cells"]:
            figure = self.number(cell["figures"]["median"])
            self.assertRegex(text, rf"(?m)^  {re.escape(cell['column'])} +{figure} ")
            self.assertIn(f"| {cell['workload']} [{cell['unit']}] | {cell['column']} | {figure} |",
                          markdown)
            self.assertIn(f"<td>{cell['column']}</td><td>{figure}</td>", html)

    @staticmethod
    def number(value):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def expect_pictures(self, results):
        from matplotlib import image  # pylint: disable=import-outside-toplevel
        html = (self.path / "output/report.html").read_text()
        for group, names in (("data", WORKLOADS[:1]), ("metadata", WORKLOADS[1:2]),
                             ("trees", WORKLOADS[2:])):
            stem = self.path / "output" / f"source-{group}-rates"
            root = xml.parse(f"{stem}.svg").getroot()
            texts = [each.text.strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]
            for cell in results["cells"]:
                if cell["workload"] in names and cell["column"] != "native":
                    self.assertIn(f"{cell['ratios']['native']['value']:.2f}~", texts)
            pixels = image.imread(f"{stem}.png")
            self.assertGreater(pixels.shape[1], 600)
            self.assertGreater(len({tuple(pixel) for pixel in pixels.reshape(-1, 4)}), 4)
            self.assertIn(texts[0], html)
        self.assertGreaterEqual(html.count("<svg"), 6)
        self.assertNotIn("src=", html)


class Places(Comparison):
    @unittest.skipIf(os.geteuid() != 0, "zram and tmpfs need root")
    def test_zram_and_tmpfs_are_made_and_undone(self):
        before = {name for name in os.listdir("/sys/block") if name.startswith("zram")}
        done = self.compare("--on", "zram,tmpfs", "--workloads", "^readdir, 1", "--modes", "^ourofs$",
                            "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads(done.stdout)
        self.assertEqual(results["grounds"]["tmpfs"], "tmpfs")
        self.assertRegex(results["grounds"]["zram"], "^ext4 on (zram|a loop device on tmpfs)$")
        self.assertEqual([(cell["ground"], cell["column"]) for cell in results["cells"]],
                         [("zram", "native"), ("zram", "ourofs"), ("tmpfs", "native"),
                          ("tmpfs", "ourofs")])
        self.assertIn("without plots: there is no matplotlib for Python (apt install "
                      "python3-matplotlib)", results["warnings"])
        self.assertEqual(sorted(os.listdir(self.path / "output")),
                         ["report.html", "results.json", "table.md", "table.txt"])
        after = {name for name in os.listdir("/sys/block") if name.startswith("zram")}
        self.assertLessEqual(after, before)


class Failures(Comparison):
    INLINE = ("--on", "source", "--workloads", "^create-unlink, 1", "--modes",
              "^ourofs backing=inline$")

    def test_another_mode_than_the_named_one_is_a_failure(self):
        done = self.compare(*self.INLINE, ourofs=self.wrapper(f'exec {OUROFS} "$@" -o backing=ring'))
        self.assertEqual(done.returncode, 32, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn("ourofsctl: 'ourofs backing=inline' is not what is mounted: it runs with "
                      "backing=ring instead of inline", done.stderr)

    def test_what_the_loops_say_at_the_end_counts_as_well(self):
        liar = self.wrapper(f'{OUROFS} "$@" -o backing=ring 2>&1 | '
                            "sed -u '/serving/s/backing=ring/backing=inline/' >&2; exit")
        done = self.compare(*self.INLINE, ourofs=liar)
        self.assertEqual(done.returncode, 32, done.stderr)
        self.assertIn("it runs with backing=ring instead of inline", done.stderr)

    def test_counters_are_believed_more_than_words(self):
        liar = self.wrapper(f'{OUROFS} "$@" -o backing=ring 2>&1 | '
                            "sed -u 's/backing=ring/backing=inline/' >&2; exit")
        arguments = [*self.INLINE[:2], "--workloads", "^4k random write, depth 1, buffered",
                     *self.INLINE[4:]]
        done = self.compare(*arguments, ourofs=liar)
        self.assertEqual(done.returncode, 32, done.stderr)
        self.assertRegex(done.stderr,
                         r"with backing=inline it made 0 of \d+ transfers by system calls")

    def test_what_does_not_mount_is_a_failure(self):
        done = self.compare("--on", "source", "--workloads", "^stat, 1", "--modes", "^ourofs$",
                            "--peer",
                            "broken=sh -c 'echo no luck >&2; exit 3' {source} {mountpoint}")
        self.assertEqual(done.returncode, 32, done.stderr)
        self.assertIn("ourofsctl: 'broken' was not mounted: no luck", done.stderr)

    def test_a_mount_that_ends_meanwhile_is_a_failure(self):
        short = self.wrapper('(sleep 1.5; umount -l "$5") >/dev/null 2>&1 & ;;')
        done = self.compare(*self.INLINE, "--rounds", "40", ourofs=short)
        self.assertEqual(done.returncode, 32, done.stderr)
        self.assertIn("'ourofs backing=inline' has ended while it was measured", done.stderr)

    def test_nobody_need_read_the_progress(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(self.command("--on", "source", "--workloads", "^stat, 1", "--modes",
                                           "^ourofs$"), env=self.environment(), stderr=writer,
                              stdout=subprocess.PIPE, text=True, check=False)
        os.close(writer)
        self.assertEqual(done.returncode, 0)
        self.assertIn("stat, 1 thread", done.stdout)
        self.expect_nothing_left()

    def test_a_signal_undoes_everything(self):
        with subprocess.Popen(self.command(*self.INLINE, "--rounds", "1000"), text=True,
                              env=self.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.await_mount(process)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 128 + signal.SIGINT, said)
        self.assertIn("ourofsctl: interrupted; everything is undone", said[1])
        self.expect_nothing_left()

    def await_mount(self, process):
        """Until the column is mounted, and something runs on it."""
        limit = time.monotonic() + 60
        mounts = pathlib.Path("/proc/self/mountinfo")
        while f"{self.path}/temporary" not in mounts.read_text() or not os.listdir(
                self.path / "source"):
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.05)


if __name__ == "__main__":
    skip_without_requirements()
    unittest.main()
