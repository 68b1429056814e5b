"""Taking a cluster down: its processes, its traces on this machine, and its data when asked."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from tiphys.cluster import components, containerd, kubeconfig, plan, state
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery import handles

_PATIENCE = 60.0  # seconds that the supervisor has for ending its components


def down(cluster: Cluster, purge: bool) -> str | None:
    """Ends everything and removes every trace; the data stays unless `purge`. Returns the context
    that kubectl now uses, when its current one went with the cluster."""
    _end_supervisor(cluster)
    if cluster.runtime == "containerd":
        containerd.remove_everything(cluster)
        _remove_tables(cluster)
    context = None
    with contextlib.suppress(ClusterError):
        context = kubeconfig.remove(cluster)
    if purge:
        # Containers may have left what cannot be removed; the cluster is forgotten all the same.
        with contextlib.suppress(OSError):
            handles.remove_folder(cluster.root)
        state.forget(cluster)
    return context


def _end_supervisor(cluster: Cluster) -> None:
    pid = components.read(cluster)["supervisor"]
    if pid is None or not components.is_alive(pid):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    nodes = cluster.nodes * plan.shutdown_seconds(cluster)
    deadline = time.monotonic() + _PATIENCE + nodes
    while components.is_alive(pid) and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _remove_tables(cluster: Cluster) -> None:
    """Removes the nftables tables of services and network policies."""
    from tiphys.network.nft import NftError, nft
    from tiphys.network.policy.enforcer import table_name
    from tiphys.network.proxy.kernel import names

    for table in (*names(cluster.table), table_name(cluster.table)):
        for ip in ("ip", "ip6"):
            with contextlib.suppress(NftError, FileNotFoundError):
                nft(f"delete table {ip} {table}\n")
