"""The commands of this directory, run on suites of a few lines: what they report must be what happened.
Usage: selftest.py OUROFS
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent
OUROFS = os.path.abspath(sys.argv.pop())

PJDFSTESTS = {
    "open/00": 'echo 1..2; echo "ok 1"; echo "not ok 2 - # TODO later"',
    "open/01": 'echo 1..3; echo "ok 1"; echo "not ok 2"; echo "ok 3"',
    "open/02": "echo 1..2; echo ok 1",
    "open/03": "true",
    "open/04": "echo 1..1; sleep 60; echo ok 1",
    # Fails on FUSE, which stat(1) calls so, and not natively.
    "open/05": 'echo 1..1; [ "$(stat -f -c %T .)" = fuseblk ] || echo "ok 1"',
}

# As much of `check` as there is to see from outside, and what the tests of xfstests rely on.
CHECK = r"""#!/bin/bash
. "$HOST_OPTIONS"
mkdir -p "$RESULT_BASE/generic"
mount_test() {
    case $FSTYP in
    fuse) mount -t fuse$FUSE_SUBTYP $TEST_FS_MOUNT_OPTS "$TEST_DEV" "$TEST_DIR" ;;
    *) mount "$TEST_DEV" "$TEST_DIR" ;;
    esac
}
cases=
for word; do
    case $word in generic/*) names+=("$word") ;; esac
done
for name in "${names[@]}"; do
    printf '%-20s' "$name"
    [[ $name != generic/007 ]] || sleep 60
    mount_test || exit 1
    (cd tests && exec "./$name") >"$RESULT_BASE/$name.out" 2>&1
    status=$?
    umount "$TEST_DIR"
    result=
    if [[ -f $RESULT_BASE/$name.notrun ]]; then
        result='<skipped message="reason" />'
    elif [[ $status != 0 ]] || ! cmp -s "$RESULT_BASE/$name.out" "tests/$name.out"; then
        mv "$RESULT_BASE/$name.out" "$RESULT_BASE/$name.out.bad"
        result='<failure message="output mismatch" />'
    fi
    cases+="<testcase name=\"$name\" time=\"1\">$result</testcase>"
    echo ' 1s'
done
echo "<testsuite>$cases</testsuite>" >"$RESULT_BASE/result.xml"
"""

XFSTESTS = {
    # Everything that is prepared is there.
    "generic/001": 'set -e; id fsgqa; id fsgqa2; id 123456-fsgqa; '
                   '[ "$FSTYP" != fuse ] || [ "$(df -T "$TEST_DIR" | tail -1 | awk "{print \\$2}")" = fuse ]; '
                   '[ "$FSTYP" != fuse ] || df "$TEST_DIR" | grep -q "^$TEST_DEV "; '
                   'touch "$TEST_DIR/f"; rm "$TEST_DIR/f"; echo fine',
    "generic/002": '[ "$FSTYP" != fuse ] && echo fine || echo wrong',
    "generic/003": "echo wrong",
    "generic/004": 'echo "no such feature" > "$RESULT_BASE/generic/004.notrun"',
    "generic/005": "sleep 60 & wait; echo fine",
    "generic/006": "echo fine",
    "generic/007": "echo nobody comes here",
}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Runs(unittest.TestCase):
    def setUp(self):
        # pylint: disable=consider-using-with
        self.directory = tempfile.TemporaryDirectory(prefix="ourofs-selftest.")
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)
        self.path.chmod(0o755)

    def run_suite(self, command, *arguments):
        self.junit = self.path / "junit.xml"
        self.markdown = self.path / "table.md"
        return subprocess.run(
            [HERE / command, self.path / "checkout", *arguments, "--ourofs", OUROFS, "--limit", "4",
             "--size", "400M", "--work", self.path, "--junit", self.junit, "--markdown",
             self.markdown],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def statuses(self):
        found = {}
        for case in xml.parse(self.junit).iter("testcase"):
            failure, skipped = case.find("failure"), case.find("skipped")
            said = failure if failure is not None else skipped
            found[case.get("name")] = "passed" if said is None else said.get("message")
        return found

    def expect_clean(self):
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        self.assertNotIn(str(self.path), mounts)
        loops = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True)
        self.assertNotIn(str(self.path), loops.stdout)

    def test_pjdfstest(self):
        write(self.path / "checkout/pjdfstest", "")
        for name, text in PJDFSTESTS.items():
            write(self.path / f"checkout/tests/{name}.t", f"#!/bin/sh\n{text}\n")
        done = self.run_suite("pjdfstest", "--backing", "ext4")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(self.statuses(), {
            "open/00": "passed", "open/01": "natively as well: 1 of 3: 2",
            "open/02": "natively as well: 1 of 2: 2", "open/03": "it has no checks here",
            "open/04": "natively as well: ended after 4 s", "open/05": "UNEXPECTED: 1 of 1: 1"})
        self.assertIn("6 tests, 9 checks", done.stdout)
        self.assertIn("| open/05 | failed |", self.markdown.read_text())
        self.assertEqual(self.run_suite("pjdfstest", "open/00", "--backing", "ext4").returncode, 0)
        self.expect_clean()

    def test_xfstests(self):
        write(self.path / "checkout/ltp/fsx", "")
        write(self.path / "checkout/check", CHECK)
        for name, text in XFSTESTS.items():
            write(self.path / f"checkout/tests/{name}", f"#!/bin/bash\nexec 2>&1\n{text}\n")
            write(self.path / f"checkout/tests/{name}.out", "fine\n")
        ids = "".join(f"{text}\n" for text in ("uid=61000(fsgqa) gid=61000(fsgqa) groups=61000(fsgqa)",
                      "uid=61001(fsgqa2) gid=61001(fsgqa2) groups=61001(fsgqa2)",
                      "uid=61002(123456-fsgqa) gid=61002(123456-fsgqa) groups=61002(123456-fsgqa)"))
        write(self.path / "checkout/tests/generic/001.out", ids + "fine\n")
        names = [name for name in XFSTESTS if name != "generic/007"]
        done = self.run_suite("xfstests", *names, "--backing", "ext4")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(self.statuses(), {
            "generic/001": "passed", "generic/002": "UNEXPECTED: wrong",
            "generic/003": "natively as well: wrong", "generic/004": "no such feature",
            "generic/005": "natively as well: ended after 4 s", "generic/006": "passed"})
        # One that not even SIGKILL ends must not pass for the end of the suite.
        done = self.run_suite("xfstests", "generic/006", "generic/007", "--backing", "ext4")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(self.statuses(), {
            "generic/007": "natively as well: it hangs and could not be ended; "
                           "what follows was not run"})
        self.expect_clean()

    def test_mistakes_are_told(self):
        for command in ("pjdfstest", "xfstests"):
            done = self.run_suite(command)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"{command} is not built in {self.path}/checkout", done.stderr)


class Lists(unittest.TestCase):
    def test_expected_failures_are_read_and_each_has_its_reason(self):
        sys.path.insert(0, str(HERE))
        import suite  # pylint: disable=import-outside-toplevel
        rows = [line for line in suite.EXPECTED.read_text().splitlines()
                if line.startswith("| ") and not line.startswith("| suite")]
        for row in rows:
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            self.assertEqual(len(cells), 5, row)
            self.assertIn(cells[0], ("xfstests", "pjdfstest"))
            self.assertTrue(all(cells), row)
        with tempfile.NamedTemporaryFile("w", suffix=".md") as file:
            file.write(textwrap.dedent("""\
                | suite | test | where | reason | source |
                |---|---|---|---|---|
                | xfstests | generic/001 | any | a | b |
                | xfstests | generic/002 | backing=ext4 | c | d |
                | xfstests | generic/003 | writeback | e | f |
                """))
            file.flush()
            suite.EXPECTED = pathlib.Path(file.name)
            self.assertEqual(suite.expected_failures("xfstests", "xfs", "allow_other"),
                             {"generic/001": "a"})
            self.assertEqual(suite.expected_failures("xfstests", "ext4", "allow_other,writeback"),
                             {"generic/001": "a", "generic/002": "c", "generic/003": "e"})
            self.assertEqual(suite.expected_failures("pjdfstest", "ext4", ""), {})


if __name__ == "__main__":
    unittest.main()
