"""What is left of a machine: memory, disks and processes, as the kernel reports."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tiphys.node.resources.pressure import Observed

_PROC = Path("/proc")
_KIB = 1024


def observe(nodefs: Path, imagefs: Path, proc: Path = _PROC) -> dict[str, Observed]:
    """By signal (`pressure.SIGNALS`). `nodefs` lies on the file system of pods, `imagefs` on that
    of images. What cannot be read is left out."""
    observed = {}
    with contextlib.suppress(OSError, KeyError, ValueError, IndexError):
        observed["memory.available"] = _memory(proc)
    for name, folder in (("nodefs", nodefs), ("imagefs", imagefs)):
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            observed[f"{name}.available"] = Observed(
                disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
            )
            if disk.f_files:  # some file systems do not count
                observed[f"{name}.inodesFree"] = Observed(disk.f_favail, disk.f_files)
    with contextlib.suppress(OSError, ValueError, IndexError):
        observed["pid.available"] = _processes(proc)
    return observed


def _memory(proc: Path) -> Observed:
    """What is free or can be freed at once, as kubelet counts it: all but the working set."""
    amounts = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, amount = line.partition(":")
        amounts[name] = int(amount.split()[0]) * _KIB
    return Observed(amounts["MemFree"] + amounts["Inactive(file)"], amounts["MemTotal"])


def _processes(proc: Path) -> Observed:
    most = int((proc / "sys/kernel/pid_max").read_text())
    running = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    return Observed(most - running, most)
