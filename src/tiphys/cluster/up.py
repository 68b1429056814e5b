"""Bringing a cluster up: its folders and files, and the supervisor that runs its components."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import replace

import tiphys
from tiphys.cluster import (
    components,
    containerd,
    credentials,
    encryption,
    machinerecords,
    plan,
    renewal,
    sandboxes,
)
from tiphys.cluster.plan import NO_CHANGE, Change
from tiphys.cluster.sandboxes import NodePlace
from tiphys.cluster.state import Cluster, ClusterError

_LEAST_FREE = 64 << 20  # bytes on the disk, without which the store cannot be written


def prepare(cluster: Cluster) -> None:
    """Makes folders, certificates and configuration: everything but processes. Raises
    ClusterError."""
    _make_folders(cluster)
    _settle_machines(cluster)
    credentials.ensure(cluster)
    encryption.ensure(cluster)
    for place in sandboxes.places(cluster):
        sandboxes.set_up(place)
        containerd.write_config(place)


def _settle_machines(cluster: Cluster) -> None:
    """Of those that add-ons have had made: what was on its way comes up with the other nodes, what
    was to end does not."""
    for record in machinerecords.read(cluster):
        if record.state == machinerecords.ENDING:
            containerd.remove_node(NodePlace(cluster, record.index, record))
            machinerecords.remove(cluster, record)
        else:
            machinerecords.write(cluster, replace(record, state=machinerecords.RUNNING))


def _make_folders(cluster: Cluster) -> None:
    try:
        for folder in (cluster.root, cluster.pki, cluster.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(cluster.root).free
    except OSError as error:
        raise ClusterError(
            f"{cluster.root} cannot be used: {error.strerror}; choose another with --data-dir"
        ) from None
    if free < _LEAST_FREE:
        raise ClusterError(
            f"only {free >> 20} MiB are free below {cluster.root}; "
            "make room or choose another --data-dir"
        )


def start(cluster: Cluster, without: Collection[str] = ()) -> None:
    """Starts the supervisor, which starts the rest but what is in `without`."""
    cluster.release = tiphys.__version__
    cluster.save()
    file = plan.write(cluster, Change(without=without))
    renewal.note_due(cluster)
    cluster.status_file.unlink(missing_ok=True)
    with open(cluster.logs / "supervisor.log", "ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tiphys.cluster.supervisor", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # The supervisor writes this file as soon as it can. Until then `down` must find it, too.
    with contextlib.suppress(FileExistsError), open(cluster.status_file, "x") as status_file:
        json.dump({"supervisor": supervisor.pid, "components": []}, status_file)


def reload(cluster: Cluster, change: Change = NO_CHANGE) -> None:
    """Has the supervisor start and end components as the cluster and `change` now say. Raises
    ClusterError when it is down."""
    pid = components.read(cluster)["supervisor"]
    if pid is None or not components.is_alive(pid):
        raise ClusterError(
            f"cluster {cluster.name} is down; start it with: tiphys up --name {cluster.name}"
        )
    plan.write(cluster, change)
    os.kill(pid, signal.SIGHUP)


def wait_for_end(cluster: Cluster, names: Collection[str], seconds: float = 30.0) -> None:
    """Returns once components that were left out have ended. Raises ClusterError."""
    deadline = time.monotonic() + seconds
    while any(row["name"] in names for row in components.read(cluster)["components"]):
        if time.monotonic() > deadline:
            raise ClusterError(f"{' and '.join(names)} did not end in {seconds:g} s")
        time.sleep(0.02)
