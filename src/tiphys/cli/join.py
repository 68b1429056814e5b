"""`tiphys join`: from the command line to a node that is ready; leaves nothing running when it
fails."""

from __future__ import annotations

import shutil

import click

from tiphys.cli.progress import Steps
from tiphys.cli.up import down_on_failure, locked, uninterrupted
from tiphys.cluster import (
    components,
    containerd,
    controlplane,
    joining,
    kubeconfig,
    publishing,
    readiness,
    state,
)
from tiphys.cluster import up as cluster_up
from tiphys.cluster.joining import Wanted
from tiphys.cluster.state import Cluster, ClusterError

_READY_WITHIN = 90.0  # seconds


def run(wanted: Wanted) -> None:
    """Raises ClusterError; then nothing of it is running, unless it was before."""
    with locked(wanted.name):
        existing = state.load(wanted.name, wanted.data_dir)
        if existing is not None and existing.joined is None:
            raise ClusterError(
                f"{wanted.name} is a cluster that was made on this machine; choose another name "
                "with --name"
            )
        if existing is not None and components.is_running(existing):
            _check_same(existing, wanted)
            click.echo(f"This machine is {joining.describe(existing)} already.")
            return
        if existing is not None and not wanted.server:
            start(existing)
            return
        start(_join(wanted, existing))


def _wait(cluster: Cluster) -> None:
    try:
        readiness.wait_for_nodes(cluster, _READY_WITHIN)
    except ClusterError as error:
        reason = joining.reason_unready(cluster)
        raise ClusterError(f"{error}: {reason}" if reason else str(error)) from None


def _join(wanted: Wanted, existing: Cluster | None) -> Cluster:
    for value, option in (
        (wanted.server, "the server: HOST:PORT"),
        (wanted.token, "--token"),
        (wanted.ca_hash, "--ca-hash"),
    ):
        if not value:
            raise ClusterError(
                f"{option} is missing; on the server, tiphys token create prints the whole command"
            )
    steps = Steps()
    try:
        with steps.step(f"Certificate from {wanted.server}"):
            return joining.join(wanted)
    except BaseException:
        if existing is None:
            folder = wanted.data_dir or state.home() / wanted.name
            if not (folder / "cluster.json").exists():
                shutil.rmtree(folder / "pki", ignore_errors=True)
        raise


def _check_same(running: Cluster, wanted: Wanted) -> None:
    """Raises ClusterError when another cluster is asked for."""
    assert running.joined is not None
    if wanted.server and wanted.server not in running.joined.servers:
        raise ClusterError(
            f"this machine is {joining.describe(running)}; leave that first: tiphys leave --name "
            f"{running.name}"
        )


def start(cluster: Cluster) -> None:
    """Starts a machine that has joined. Raises ClusterError."""
    containerd.check()
    joining.check_member(cluster)
    joining.check_machine(cluster)
    steps = Steps()
    with down_on_failure(cluster):
        with steps.step("Certificates and configuration"):
            state.remember(cluster)
            joining.write_kubeconfigs(cluster)
            cluster_up.prepare(cluster)
        if cluster.control and not controlplane.is_entered(cluster):
            with steps.step("Member of etcd"):
                controlplane.enter(cluster)
                cluster_up.reload(cluster)
        else:
            with uninterrupted():
                cluster_up.start(cluster)
        with steps.step("Container runtime"):
            readiness.load_pause(cluster)
        with steps.step("Node"):
            readiness.wait_for_server(cluster)
            _wait(cluster)
        if cluster.control:
            publishing.publish(cluster)
            controlplane.show(cluster)
            kubeconfig.merge(cluster)
    click.echo(f"This machine is {joining.describe(cluster)} after {steps.elapsed():.1f} s.")
