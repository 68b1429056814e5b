"""The store of a cluster as a dump and from one, whichever engine it is in, whether or not the
cluster runs; and the short stop of its API server that moving it takes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tiphys.cluster import components, credentials, plan, readiness, up
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.cluster.stored import etcd_place
from tiphys.store import dump
from tiphys.store.engine import StoreError


def write_dump(cluster: Cluster, target: Path) -> dump.Dump:
    """Writes what is live in the cluster's store into a new file. Raises ClusterError."""
    with _explained(), _etcd_running(cluster):
        if cluster.store == "sqlite":
            return dump.from_sqlite(cluster.root / "state.db", target)
        return asyncio.run(_etcd_copy(cluster).dump(target))


def load_dump(cluster: Cluster, source: Path, bump: int) -> dump.Dump:
    """Makes a dump the cluster's store, which no process may have open. Raises ClusterError."""
    with _explained(), _etcd_running(cluster):
        if cluster.store == "sqlite":
            return dump.to_sqlite(source, cluster.root / "state.db", bump)
        return asyncio.run(_etcd_copy(cluster).fill(source, bump))


def _etcd_copy(cluster: Cluster) -> dump.EtcdCopy:
    place = etcd_place(cluster)
    return dump.EtcdCopy(place.endpoints, tls=place.tls)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise ClusterError(str(error)) from None


@contextlib.contextmanager
def _etcd_running(cluster: Cluster) -> Iterator[None]:
    """Has the cluster's own etcd run meanwhile, if it has one and it does not run."""
    if cluster.store != "etcd" or _answers(plan.etcd_ports(cluster.port)[0]):
        yield
        return
    cluster.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    if cluster.is_replicated:
        credentials.ensure(cluster)
    with open(cluster.logs / "etcd.log", "ab") as log:
        command = plan.etcd(cluster).command
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


_PAUSED = ("apiserver", "etcd", "controllers")  # which elect a leader over some stores alone


class Pause:
    """A running cluster without its API server, etcd and controllers: pods run on, nodes wait.

    A context manager. `cluster` may be changed meanwhile: what it says at the end is started.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.seconds = 0.0  # that the API did not answer

    def __enter__(self) -> Pause:
        self._running = components.is_running(self.cluster)
        self._began = time.monotonic()
        if self._running:
            up.reload(self.cluster, plan.Change(without=_PAUSED))
            up.wait_for_end(self.cluster, _PAUSED)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._running:
            return
        up.reload(self.cluster)
        readiness.wait_for_server(self.cluster)
        self.seconds = time.monotonic() - self._began
