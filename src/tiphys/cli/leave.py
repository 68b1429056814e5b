"""`tiphys leave`: drains the node, ends everything on this machine, and has the Node deleted."""

from __future__ import annotations

import click

from tiphys.cli.progress import Steps
from tiphys.cluster import components, controlplane, leaving, removal
from tiphys.cluster.plan import etcd_name
from tiphys.cluster.state import Cluster, ClusterError


def run(cluster: Cluster, seconds: float, force: bool) -> None:
    """Raises ClusterError; then the machine is a node still."""
    if cluster.joined is None:
        raise ClusterError(
            f"{cluster.name} was made on this machine, which cannot leave it; to end it: tiphys "
            f"down --name {cluster.name}"
        )
    if cluster.control:
        _check_not_last(cluster, force)
    steps = Steps()
    try:
        with steps.step("Pods go elsewhere"):
            _drain(cluster, seconds, force)
    except ClusterError as error:
        if not force:
            raise _advised(error) from None
        click.echo(f"Leaving all the same: {error}", err=True)
    if cluster.control:
        _withdraw(cluster, steps, force)
    with steps.step("Everything on this machine ends"):
        removal.down(cluster, purge=False)
    try:
        with steps.step(f"Node {cluster.joined.node} is deleted"):
            leaving.delete_node(cluster)
    except ClusterError as error:
        if not force:
            raise _advised(error) from None
        delete = f"kubectl delete node {cluster.joined.node}"
        click.echo(f"The Node stays, {error}; on the server: {delete}", err=True)
    removal.down(cluster, purge=True)
    click.echo(f"This machine has left {cluster.server}.")


def _check_not_last(cluster: Cluster, force: bool) -> None:
    try:
        controlplane.check_not_last(cluster)
    except controlplane.LastError:
        raise
    except ClusterError:
        if not force:
            raise


def _withdraw(cluster: Cluster, steps: Steps, force: bool) -> None:
    try:
        with steps.step("Its etcd is a member no more"):
            controlplane.withdraw(cluster)
    except ClusterError as error:
        if not force:
            raise
        click.echo(
            f"Its etcd stays a member, {error}; on another machine of the control plane: tiphys "
            f"machine remove {etcd_name(cluster)}",
            err=True,
        )


def _advised(error: ClusterError) -> ClusterError:
    if not isinstance(error, leaving.ServerAwayError):
        return error
    return ClusterError(
        f"{error}; to leave without it (the Node stays until it is deleted there): "
        "tiphys leave --force"
    )


def _drain(cluster: Cluster, seconds: float, force: bool) -> None:
    if not components.is_running(cluster):
        raise ClusterError(
            "the node is stopped, so its pods would not end; start it with tiphys join, or leave "
            "with --force"
        )
    leaving.drain(cluster, seconds, force, lambda line: click.echo(f"  {line}", err=True))
