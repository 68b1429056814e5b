"""Which machines add-ons have had made: a file for each, below the cluster's folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiphys.cluster.state import Cluster

RESERVED = "reserved"  # it has a place, and nothing there yet
BOOTING = "booting"  # its containerd runs
RUNNING = "running"  # and its node
ENDING = "ending"


@dataclass(frozen=True)
class Record:
    """A machine. `index` is of its place (`sandboxes.NodePlace`), `machine` what was asked for
    (`addons.machines.Machine`)."""

    index: int
    name: str
    state: str
    machine: dict[str, Any]

    @property
    def has_runtime(self) -> bool:
        return self.state in (BOOTING, RUNNING)


def file_of(cluster: Cluster, index: int) -> Path:
    return cluster.root / "machines" / f"{index}.json"


def read(cluster: Cluster) -> list[Record]:
    """By index. What cannot be read is left out: there is no other source for it."""
    records = []
    for file in (cluster.root / "machines").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            content = json.loads(file.read_text())
            machine = content["machine"]
            records.append(Record(int(file.stem), str(machine["name"]), content["state"], machine))
    return sorted(records, key=lambda record: record.index)


def write(cluster: Cluster, record: Record) -> None:
    file = file_of(cluster, record.index)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps({"state": record.state, "machine": record.machine}))
    temporary.rename(file)


def remove(cluster: Cluster, record: Record) -> None:
    file_of(cluster, record.index).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(cluster: Cluster, name: str) -> Iterator[None]:
    """One process at a time: ``records`` for all of them, or a place's number for what is done
    there."""
    folder = cluster.root / "machines"
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / f"{name}.lock", "w") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
