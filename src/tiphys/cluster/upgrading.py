"""Replacing the components of a running cluster by those of the release that is installed now, one
after the other. Containers and etcd are not touched.

A new API server is started beside the old one and takes over its socket: over etcd it serves
before the old one leaves; SQLite's file is one process's, so the new one waits for it, with all
else done that can be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tiphys
from tiphys.cluster import components, credentials, plan, readiness, up
from tiphys.cluster.copying import Pause
from tiphys.cluster.plan import Change
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
    credentials.ensure(cluster)
    if _has_other_etcd(cluster):
        yield _replace_etcd(cluster)
    for process in plan.processes(cluster):
        if not process.name.startswith(_KEPT):
            yield _replace(cluster, process.name)
    cluster.release = tiphys.__version__
    cluster.save()


def _has_other_etcd(cluster: Cluster) -> bool:
    """Whether etcd was started otherwise than it would be now, so that the new API server would
    not find it: without TLS, by a release in which it was one machine's alone."""
    pid = _row(cluster, "etcd").get("pid")
    if pid is None:
        return False
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return plan.etcd_urls(cluster).peer not in words


def _replace_etcd(cluster: Cluster) -> Replaced:
    with Pause(cluster) as pause:
        pass
    return Replaced("etcd", pause.seconds)


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
    if name == "apiserver" and _can_follow(cluster):
        _follow(cluster, name)
    else:
        up.reload(cluster, Change(without=(name,)))
        _wait(cluster, name, runs=False)
        up.reload(cluster)
        _wait(cluster, name, runs=True)
    if name == "apiserver":
        _wait_for_server(cluster)
    return Replaced(name, time.monotonic() - began)


def _row(cluster: Cluster, name: str) -> dict[str, Any]:
    """What the supervisor reports of a component; nothing when there is none."""
    rows = components.read(cluster)["components"]
    return next((row for row in rows if row["name"] == name), {})


def _can_follow(cluster: Cluster) -> bool:
    """Whether the supervisor, which may be of an earlier release, can start one process beside
    another."""
    return "refused" in _row(cluster, "apiserver")


def _follow(cluster: Cluster, name: str) -> None:
    """Has a process started beside a component's, and returns when it has taken over. The old one
    sees its clients off. Raises ClusterError; then the old one goes on."""
    before = _row(cluster, name)
    up.reload(cluster, Change(replaces=(name,)))
    deadline = time.monotonic() + _PATIENCE
    while (now := _row(cluster, name)).get("pid") == before["pid"]:
        if now["refused"] > before["refused"] or time.monotonic() > deadline:
            log = cluster.logs / f"{name}.log"
            raise ClusterError(f"the new {name} did not start, the old one goes on; see {log}")
        time.sleep(0.02)


def _wait(cluster: Cluster, name: str, runs: bool) -> None:
    deadline = time.monotonic() + _PATIENCE
    while _runs(cluster, name) != runs:
        if time.monotonic() > deadline:
            log = cluster.logs / f"{name}.log"
            raise ClusterError(f"{name} did not {'start' if runs else 'end'}; see {log}")
        time.sleep(0.02)


def _runs(cluster: Cluster, name: str) -> bool:
    return bool(_row(cluster, name).get("pid"))


def _wait_for_server(cluster: Cluster) -> None:
    """Raises ClusterError with what to do when the new server does not become ready."""
    try:
        readiness.wait_for_server(cluster)
    except ClusterError as error:
        raise ClusterError(
            f"{error}; to go back, install the earlier release "
            f"({cluster.release or 'the one before'}) and run tiphys upgrade again"
        ) from None
