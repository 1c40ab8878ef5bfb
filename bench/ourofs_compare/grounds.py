"""What the compared mounts are mounts of: a directory on the disk that the user names, an ext4 on
zram, where I/O costs CPU time only, or a tmpfs. Whatever is made for one is undone with its stack."""

import dataclasses
import os
import pathlib
import shutil
import tempfile
import time

from . import processes
from .failure import Failure, of_os_error

NAMES = ("source", "zram", "tmpfs")
CONTROL = pathlib.Path("/sys/class/zram-control")
MIB = 1 << 20


@dataclasses.dataclass
class Ground:
    """`directory` is what is mounted by every column; it is empty when it is made."""

    name: str
    description: str
    directory: pathlib.Path
    notes: list = dataclasses.field(default_factory=list)


def make(name, source, work, mib, stack):
    """The Ground of this name, with room for `mib`. `work` is a directory of ours for mounts."""
    if name == "source":
        return _on_source(source, mib, stack)
    if os.geteuid() != 0:
        raise Failure(f"--on {name} needs root")
    mountpoint = work / name
    mountpoint.mkdir()
    if name == "tmpfs":
        _mount(stack, mountpoint, "-t", "tmpfs", "-o", f"size={mib}M", "ourofsctl")
        return Ground(name, "tmpfs", _below(mountpoint))
    if _has_zram(stack):
        device = _zram(stack, mib)
        _ext4(device)
        _mount(stack, mountpoint, device)
        return Ground(name, "ext4 on zram", _below(mountpoint))
    memory = work / "memory"
    memory.mkdir()
    _mount(stack, memory, "-t", "tmpfs", "-o", f"size={mib + 64}M", "ourofsctl")
    device = _loop(stack, memory / "image", mib)
    _ext4(device)
    _mount(stack, mountpoint, device)
    note = "zram: this machine has none; instead an ext4 on a loop device on tmpfs was used"
    return Ground(name, "ext4 on a loop device on tmpfs", _below(mountpoint), [note])


def _below(mountpoint):
    directory = mountpoint / "source"
    directory.mkdir()
    return directory


def _on_source(source, mib, stack):
    try:
        free = os.statvfs(source)
        directory = pathlib.Path(tempfile.mkdtemp(prefix=".ourofsctl.", dir=source))
    except OSError as error:
        raise of_os_error(f"cannot use '{source}'", error) from error
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    if free.f_bavail * free.f_frsize < mib * MIB:
        raise Failure(f"cannot use '{source}': it takes {mib} MiB of free space")
    directory.chmod(0o755)
    words = processes.run("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", directory).split()
    return Ground("source", " on ".join(words[:2]), directory)


def _mount(stack, mountpoint, *arguments):
    processes.run("mount", *arguments, mountpoint)
    stack.callback(_unmount, mountpoint)


def _unmount(mountpoint):
    if not processes.quietly("umount", mountpoint):
        processes.quietly("umount", "-l", mountpoint)


def _ext4(device):
    # Nothing is to be initialised in the background while it is measured.
    processes.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)


def _modprobe(*arguments):
    program = shutil.which("modprobe", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        return False
    return processes.quietly(program, "-q", *arguments)


def _has_zram(stack):
    if not CONTROL.exists() and _modprobe("zram"):
        stack.callback(_modprobe, "-r", "zram")
    return (CONTROL / "hot_add").exists()


def _zram(stack, mib):
    """A zram device of its own, which is not there before and not after."""
    number = (CONTROL / "hot_add").read_text().strip()
    stack.callback(_remove_zram, number)
    device = pathlib.Path(f"/dev/zram{number}")
    limit = time.monotonic() + 5
    while not device.exists():
        if time.monotonic() > limit:
            raise Failure(f"cannot open '{device}': No such file or directory")
        time.sleep(0.01)
    pathlib.Path(f"/sys/block/zram{number}/disksize").write_text(f"{mib}M")
    return device


def _remove_zram(number):
    """Waits for those who look at new devices, such as udev."""
    for _ in range(100):
        try:
            pathlib.Path(f"/sys/block/zram{number}/reset").write_text("1")
            (CONTROL / "hot_remove").write_text(number)
            return
        except OSError:
            time.sleep(0.05)


def _loop(stack, image, mib):
    with open(image, "wb") as file:
        file.truncate(mib * MIB)
    device = processes.run("losetup", "--find", "--show", image).strip()
    stack.callback(processes.quietly, "losetup", "--detach", device)
    return device
