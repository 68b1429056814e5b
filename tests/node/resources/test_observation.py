"""What is left, read from files of the kernel."""

from __future__ import annotations

from pathlib import Path

from tiphys.node.resources.observation import observe
from tiphys.node.resources.pressure import SIGNALS, Observed

MEMINFO = "MemTotal: 8000 kB\nMemFree: 1000 kB\nInactive(file): 500 kB\nActive(file): 700 kB\n"


def kernel(root: Path) -> Path:
    (root / "sys/kernel").mkdir(parents=True)
    (root / "meminfo").write_text(MEMINFO)
    (root / "loadavg").write_text("0.1 0.2 0.3 2/345 678\n")
    (root / "sys/kernel/pid_max").write_text("32768\n")
    return root


def test_what_can_be_freed_at_once_counts_as_available(tmp_path: Path) -> None:
    observed = observe(tmp_path, tmp_path, kernel(tmp_path / "proc"))
    assert observed["memory.available"] == Observed(1500 * 1024, 8000 * 1024)
    assert observed["pid.available"] == Observed(32768 - 345, 32768)


def test_every_signal_is_read_on_this_machine(tmp_path: Path) -> None:
    observed = observe(tmp_path, tmp_path)
    assert {"memory.available", "nodefs.available", "imagefs.available"} <= observed.keys()
    assert observed.keys() <= SIGNALS.keys()
    assert all(0 < one.available <= one.capacity for one in observed.values())


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: many\n")
    observed = observe(tmp_path / "none", tmp_path, tmp_path)
    assert {name.split(".")[0] for name in observed} == {"imagefs"}
