"""What makes a node's process one of a machine that an add-on has had made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from tiphys.addons.machines import Machine
from tiphys.machinery.footprint import units
from tiphys.node.options import NodeOptions
from tiphys.node.resources.reservation import kept_back

_NOT_BY_NODES = "node-restriction.kubernetes.io"  # labels that nodes may not give themselves


class _Recorded(msgspec.Struct):
    machine: Machine


def as_machine(own: NodeOptions, file: Path) -> NodeOptions:
    """A node as the record of its machine says. Raises OSError, msgspec.DecodeError."""
    machine = msgspec.json.decode(file.read_bytes(), type=_Recorded).machine
    configuration = own.configuration
    # What eviction keeps free is part of what a type of machine has less for pods.
    free = kept_back(machine.capacity, {}, configuration.eviction_hard)
    kept = {name: max(0, n - free.get(name, 0)) for name, n in machine.reserved.items()}
    managers = replace(configuration.managers, kube={**configuration.managers.kube, **kept})
    pods = units("pods", machine.capacity.get("pods", str(configuration.max_pods)))
    return replace(
        own,
        labels={k: v for k, v in machine.labels.items() if not _is_withheld(k)},
        taints=tuple(machine.taints),
        provider_id=machine.provider_id,
        capacity=machine.capacity,
        configuration=replace(configuration, max_pods=pods, managers=managers),
    )


def _is_withheld(label: str) -> bool:
    return label.partition("/")[0].endswith(_NOT_BY_NODES)
