"""Replacing the components of a running cluster by those of the release that is installed now, one
after the other. Containers and etcd are not touched.

The supervisor holds the API server's socket, so that clients wait while one server follows another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import tiphys
from tiphys.cluster import components, plan, readiness, up
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.store.engine import StoreError
from tiphys.store.sqlite import check_format

_KEPT = ("containerd", "etcd")  # of other projects; pods depend on them
_PATIENCE = 60.0  # seconds for a component to end, or to run


class Replaced(NamedTuple):
    """A component, and how long it was away."""

    name: str
    seconds: float


def upgrade(cluster: Cluster) -> Iterator[Replaced]:
    """Replaces component by component, the API server first: the others may be older than it, not
    newer. Raises ClusterError; what was replaced until then stays so."""
    if not components.is_running(cluster):
        raise ClusterError(
            f"{cluster.name} is down: tiphys up --name {cluster.name} starts it with this release"
        )
    _check_format(cluster)
    for process in plan.processes(cluster):
        if not process.name.startswith(_KEPT):
            yield _replace(cluster, process.name)
    cluster.release = tiphys.__version__
    cluster.save()


def _check_format(cluster: Cluster) -> None:
    """Raises ClusterError while everything still runs, when this release cannot read the store."""
    if cluster.store != "sqlite":
        return
    try:
        check_format(cluster.root / "state.db")
    except StoreError as error:
        raise ClusterError(f"{error}; nothing was changed") from None


def _replace(cluster: Cluster, name: str) -> Replaced:
    began = time.monotonic()
    up.reload(cluster, (name,))
    _wait(cluster, name, runs=False)
    up.reload(cluster)
    _wait(cluster, name, runs=True)
    if name == "apiserver":
        _wait_for_server(cluster)
    return Replaced(name, time.monotonic() - began)


def _wait(cluster: Cluster, name: str, runs: bool) -> None:
    deadline = time.monotonic() + _PATIENCE
    while _runs(cluster, name) != runs:
        if time.monotonic() > deadline:
            log = cluster.logs / f"{name}.log"
            raise ClusterError(f"{name} did not {'start' if runs else 'end'}; see {log}")
        time.sleep(0.02)


def _runs(cluster: Cluster, name: str) -> bool:
    rows = components.read(cluster)["components"]
    return any(row["name"] == name and row["pid"] for row in rows)


def _wait_for_server(cluster: Cluster) -> None:
    """Raises ClusterError with what to do when the new server does not become ready."""
    try:
        readiness.wait_for_server(cluster)
    except ClusterError as error:
        raise ClusterError(
            f"{error}; to go back, install the earlier release "
            f"({cluster.release or 'the one before'}) and run tiphys upgrade again"
        ) from None
