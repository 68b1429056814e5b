"""Machines that add-ons ask for: makes one, or takes it away, with all that belongs to it.

The supervisor starts this as a process for each connection to its socket, which is the process's
standard input and output; the messages are in `addons/machines`.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from tiphys.addons.machines import LONGEST, Answer, Machine, Request
from tiphys.cluster import (
    containerd,
    credentials,
    images,
    machinerecords,
    plan,
    sandboxes,
    state,
    up,
)
from tiphys.cluster.machinerecords import BOOTING, ENDING, RESERVED, RUNNING, Record
from tiphys.cluster.sandboxes import MOST, NodePlace
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.network.pods import NetworkError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # also a host's, so no dots
_RUNTIME_TIME = 30.0  # seconds until a containerd answers


def refusal(cluster: Cluster) -> str:
    """Why there are no machines in a cluster; "" where there may be some."""
    if cluster.runtime != "containerd":
        return f"cluster {cluster.name} runs no containers (runtime {cluster.runtime})"
    if not plan.has_machines(cluster):
        return f"cluster {cluster.name} has nodes on other machines, which would not find them"
    return ""


def reserve(cluster: Cluster, machine: Machine) -> Record | None:
    """A place for a machine, None where one of its name has it already. Raises ClusterError."""
    problem = refusal(cluster)
    if problem:
        raise ClusterError(problem)
    if not _NAME.fullmatch(machine.name):
        raise ClusterError(f"{machine.name!r} is no name of a machine")
    with machinerecords.locked(cluster, "records"):
        standing = machinerecords.read(cluster)
        if any(record.name == machine.name for record in standing):
            return None
        if any(place.name == machine.name for place in sandboxes.places(cluster)):
            raise ClusterError(f"there is a node {machine.name} already")
        # From the top: the bottom is of those that `tiphys up --nodes` makes.
        taken = {record.index for record in standing}
        free = [i for i in range(MOST - 1, cluster.nodes - 1, -1) if i not in taken]
        if not free:
            raise ClusterError(f"a cluster has at most {MOST} nodes on a machine")
        record = Record(free[0], machine.name, RESERVED, msgspec.to_builtins(machine))
        machinerecords.write(cluster, record)
        return record


def bring_up(cluster: Cluster, record: Record) -> None:
    """A place for it in the network, a containerd with the images of the first node, and then its
    node's process. Stops where it is requested to end meanwhile. Raises ClusterError, NetworkError.
    """
    place = NodePlace(cluster, record.index, record)
    with machinerecords.locked(cluster, str(record.index)):
        credentials.ensure_node(place)
        sandboxes.set_up(place)
        containerd.write_config(place)
        if not _set(cluster, record, BOOTING):
            return
        _wait_for(place.socket)
        images.copy(NodePlace(cluster, 0), place)
        _set(cluster, record, RUNNING)


def end(cluster: Cluster, name: str) -> None:
    """Raises ClusterError."""
    record = next(
        (candidate for candidate in machinerecords.read(cluster) if candidate.name == name), None
    )
    if record is None:
        return
    place = NodePlace(cluster, record.index, record)
    _set(cluster, record, ENDING)
    with machinerecords.locked(cluster, str(record.index)):
        up.wait_for_end(cluster, plan.names_of(place))
        containerd.remove_node(place)
        machinerecords.remove(cluster, record)


def _set(cluster: Cluster, record: Record, to: str) -> bool:
    """Writes a state, and has the supervisor do what it says; whether there is such a machine and
    it is not to end."""
    with machinerecords.locked(cluster, "records"):
        now = [stored for stored in machinerecords.read(cluster) if stored.name == record.name]
        if not now or (now[0].state == ENDING and to != ENDING):
            return False
        machinerecords.write(cluster, replace(record, state=to))
        # Add-ons are enabled and disabled meanwhile.
        up.reload(state.load(cluster.name, cluster.root) or cluster)
        return True


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + _RUNTIME_TIME
    while not socket.exists():
        if time.monotonic() > deadline:
            raise ClusterError(f"no containerd answers at {socket}")
        time.sleep(0.03)


def _answer(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def _do(cluster: Cluster, request: Request) -> None:
    reserved = None
    try:
        if request.verb == "make":
            reserved = reserve(cluster, request.machine)
        elif request.verb == "end":
            end(cluster, request.machine.name)
    except (ClusterError, NetworkError, OSError) as error:
        return _answer(Answer(str(error)))
    _answer(Answer(names=[record.name for record in machinerecords.read(cluster)]))
    if reserved is not None:
        bring_up(cluster, reserved)


def main() -> None:
    """``python -m tiphys.cluster.machines ROOT``: ROOT is the cluster's folder."""
    cluster = state.load("", Path(sys.argv[1]))
    line = sys.stdin.buffer.readline(LONGEST)
    try:
        request = msgspec.json.decode(line, type=Request)
    except msgspec.DecodeError as error:
        return _answer(Answer(f"the request cannot be read: {error}"))
    if cluster is None:
        return _answer(Answer(f"there is no cluster in {sys.argv[1]}"))
    _do(cluster, request)


if __name__ == "__main__":
    main()
