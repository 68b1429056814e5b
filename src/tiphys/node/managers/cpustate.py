"""Which CPUs are whose: the shared pool, and those of single containers. Kept in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiphys.node.managers import checkpoint
from tiphys.node.managers.checkpoint import CheckpointError
from tiphys.node.managers.cpusets import NONE, CPUSet, parse, written

FILE = "cpu_manager_state"  # upstream's name


class CPUState:
    """
    shared:   the CPUs that all other containers run on
    assigned: those of single containers, by pod uid and container name
    """

    def __init__(self, path: Path, policy: str) -> None:
        """Reads the file. Raises CheckpointError."""
        self._path = path
        self._policy = policy
        self.shared: CPUSet = NONE
        self.assigned: dict[str, dict[str, CPUSet]] = {}
        try:
            self._restore(checkpoint.read(path))
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise CheckpointError(
                f"could not restore state from checkpoint: {error}, please drain this node and "
                f'delete the CPU manager checkpoint file "{path}" before restarting Kubelet'
            ) from None

    def _restore(self, document: Mapping[str, Any] | None) -> None:
        if document is None:
            return
        policy = document.get("policyname", "")
        shared = document.get("defaultcpuset", "")
        entries = document.get("entries") or {}
        checkpoint.verify(document, _printed(policy, shared, entries))
        if policy != self._policy:
            raise ValueError(
                f'configured policy "{self._policy}" differs from state checkpoint policy '
                f'"{policy}"'
            )
        try:
            self.shared = parse(shared)
        except ValueError as error:
            raise ValueError(f'could not parse default cpu set "{shared}": {error}') from None
        for uid, containers in entries.items():
            for name, cpus in containers.items():
                self.assigned.setdefault(uid, {})[name] = _cpus_of(uid, name, cpus)

    def save(self) -> None:
        """Raises OSError."""
        entries = {
            uid: {name: written(cpus) for name, cpus in containers.items()}
            for uid, containers in self.assigned.items()
        }
        shared = written(self.shared)
        document: dict[str, Any] = {"policyName": self._policy, "defaultCpuSet": shared}
        if entries:
            document["entries"] = entries
        checkpoint.write(self._path, document, _printed(self._policy, shared, entries))

    def all_assigned(self) -> CPUSet:
        return NONE.union(
            *(cpus for containers in self.assigned.values() for cpus in containers.values())
        )


def _cpus_of(uid: str, name: str, cpus: str) -> CPUSet:
    try:
        return parse(cpus)
    except ValueError as error:
        raise ValueError(
            f'could not parse cpuset "{cpus}" for container "{name}" in pod "{uid}": {error}'
        ) from None


def _printed(policy: str, shared: str, entries: Mapping[str, Mapping[str, str]]) -> str:
    """As Go prints the value that the checksum is of."""
    pods = " ".join(
        f"{uid}:map[{' '.join(f'{name}:{cpus}' for name, cpus in sorted(containers.items()))}]"
        for uid, containers in sorted(entries.items())
    )
    return (
        f"(*state.CPUManagerCheckpoint){{PolicyName:(string){policy} "
        f"DefaultCPUSet:(string){shared} Entries:(map[string]map[string]string)map[{pods}] "
        "Checksum:(checksum.Checksum)0}"
    )
