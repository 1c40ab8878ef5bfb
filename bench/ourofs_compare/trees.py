"""Workloads on a tree of small files, by the programs that people use. An operation is a file."""

import io
import os
import pathlib
import random
import shutil
import tarfile
import time

from . import caches
from .sample import RunFailed, Sample, execute

FILES_IN_DIRECTORY = 20
LARGEST = 16 << 10
GIT = ("git", "-c", "safe.directory=*", "-c", "user.name=nobody", "-c", "user.email=nobody@localhost",
       "-c", "gc.auto=0", "-c", "core.fsync=none")


def make_archive(path, files):
    """A tar archive of small text files, the same whenever it is made."""
    chance = random.Random(files)
    words = [f"word{number} " for number in range(500)]
    with tarfile.open(path, "w") as archive:
        for number in range(files):
            length = int(LARGEST * chance.random() ** 3)
            text = "".join(chance.choices(words, k=length // 8 + 1)).encode()
            entry = tarfile.TarInfo(f"tree/directory{number // FILES_IN_DIRECTORY}/file{number}")
            entry.size, entry.mtime = len(text), 1_600_000_000
            archive.addfile(entry, io.BytesIO(text))


def _run(words, directory, good=(0,)):
    """(seconds, what it said)."""
    environment = {**os.environ, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    begin = time.monotonic()
    said = execute(words, good, cwd=directory, env=environment)
    return time.monotonic() - begin, said


class _Tree:
    """What these workloads have in common: places, and no percentiles."""

    group = "trees"
    unit = "files/s"
    programs = ()
    needs_root = False

    def __init__(self, name):
        self.name = name

    def set_up(self, place, settings):
        pass

    def before(self, place, settings):
        pass

    def after(self, place, settings):
        pass

    @staticmethod
    def unpack(place, name, settings):
        directory = place.own / name
        directory.mkdir()
        return _run(["tar", "-xf", settings.archive], directory)[0]


class Unpack(_Tree):
    programs = ("tar",)

    def run(self, place, settings, seconds):
        return Sample(settings.tree, self.unpack(place, "unpacked", settings))

    def after(self, place, settings):
        shutil.rmtree(place.own / "unpacked", ignore_errors=True)


class Remove(_Tree):
    programs = ("tar",)

    def before(self, place, settings):
        self.unpack(place, "removed", settings)

    def run(self, place, settings, seconds):
        return Sample(settings.tree, _run(["rm", "-rf", "removed"], place.own)[0])

    def after(self, place, settings):
        if (place.own / "removed").exists():
            raise RunFailed("rm: it is still there")


class _Repository(_Tree):
    """On a tree that git knows, made once in each place."""

    programs = ("tar", "git", "grep")

    def __init__(self, name, cold):
        super().__init__(name)
        self.cold = self.needs_root = cold

    def set_up(self, place, settings):
        directory = place.own / "repository"
        if directory.exists():
            return
        self.unpack(place, "repository", settings)
        _run([*GIT, "init", "-q"], directory)
        _run([*GIT, "add", "-A"], directory)
        _run([*GIT, "commit", "-q", "-m", "all"], directory)

    def before(self, place, settings):
        if self.cold:
            caches.drop()
        else:
            self.once(place)

    def run(self, place, settings, seconds):
        return Sample(settings.tree, self.once(place))

    def once(self, place):
        raise NotImplementedError


class GitStatus(_Repository):
    def once(self, place):
        seconds, said = _run([*GIT, "status", "--porcelain"], place.own / "repository")
        if said:
            raise RunFailed(f"git: the tree has changed: {said.splitlines()[0]}")
        return seconds


class Grep(_Repository):
    def once(self, place):
        # Finds nothing, and so reads everything.
        tree = pathlib.Path(place.own) / "repository/tree"
        return _run(["grep", "-r", "no such words in it", "."], tree, good=(1,))[0]
