"""What every command about a cluster of ours shares: its name, finding it, and errors as a line."""

from __future__ import annotations

from typing import Any

import click

cluster_name = click.option(
    "--name",
    default="tiphys",
    show_default=True,
    help="Name of the cluster and of its kubeconfig context.",
)


def existing(name: str) -> Any:
    from tiphys.cluster import state

    cluster = state.load(name)
    if cluster is None:
        known = ", ".join(c.name for c in state.everyone()) or "none"
        raise state.ClusterError(
            f"there is no cluster named {name} (there are: {known}); make one with: tiphys up "
            f"--name {name}"
        )
    return cluster


def own_cluster(name: str) -> Any:
    """The cluster of that name, which this machine has made and is the administrator of."""
    from tiphys.cluster import state

    cluster = existing(name)
    if cluster.joined:
        raise state.ClusterError(
            f"this machine has joined {cluster.server}; run this on the machine where that cluster "
            "was made"
        )
    return cluster


def with_server(name: str) -> Any:
    """The cluster of that name, of whose control plane this machine is."""
    from tiphys.cluster import state

    cluster = existing(name)
    if not cluster.has_server:
        raise state.ClusterError(
            f"this machine has joined {cluster.server} as a node; run this on a machine of that "
            "cluster's control plane"
        )
    return cluster


class explained:
    """Errors the user can mend are a line, not a traceback."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        from tiphys.cluster.state import ClusterError
        from tiphys.network.pods import NetworkError

        if isinstance(error, ClusterError | NetworkError):
            raise click.ClickException(str(error))
        if isinstance(error, PermissionError):
            raise click.ClickException(
                f"{error.filename}: permission denied; are you the user who made this cluster?"
            )
