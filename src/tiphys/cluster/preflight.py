"""What is looked at before anything starts, so that a user's mistake costs a line and not a broken
cluster.

Every check raises ClusterError with a sentence that says what to do.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tiphys.cluster import certificates, containerd, kubeconfig
from tiphys.cluster.state import Cluster, ClusterError

if TYPE_CHECKING:
    from tiphys.node.configuration import KubeletConfiguration

_BEFORE_OUR_TIME = 1_700_000_000  # seconds since the epoch: no clock that is right shows less


def check(cluster: Cluster) -> None:
    """Whether the cluster can run on this machine as it is configured."""
    if cluster.runtime == "containerd":
        containerd.check()
    if time.time() < _BEFORE_OUR_TIME:
        raise ClusterError(
            "the clock of this machine is years behind: certificates would not be valid; set it "
            "and try again"
        )
    _check_store(cluster)
    if cluster.scheduler_config:
        _check_profiles(Path(cluster.scheduler_config))
    if cluster.kubelet_config:
        _check_kubelet_config(Path(cluster.kubelet_config), cluster.nodes)
    if cluster.audit_policy:
        _check_audit_policy(Path(cluster.audit_policy))
    kubeconfig.check()
    certificates.check(cluster.pki)
    _check_port(cluster)


def changed_options(running: Cluster, asked: Cluster) -> list[str]:
    """The options of `tiphys up` by which `asked` differs from the running cluster, as a user would
    write them."""
    pairs = (
        ("--port", running.port, asked.port),
        ("--runtime", running.runtime, asked.runtime),
        ("--nodes", running.nodes, asked.nodes),
        ("--store", running.store, asked.store),
        ("--etcd-tls", running.etcd_tls, asked.etcd_tls),
        ("--scheduler-config", running.scheduler_config, asked.scheduler_config),
        ("--kubelet-config", running.kubelet_config, asked.kubelet_config),
        ("--audit-policy", running.audit_policy, asked.audit_policy),
    )
    return [f"{option} {_as_typed(new)}" for option, old, new in pairs if old != new]


def check_unchanged(running: Cluster, asked: Cluster) -> None:
    """A cluster that runs keeps its options until it is taken down."""
    changed = changed_options(running, asked)
    if not changed:
        return
    options = " ".join(changed)
    raise ClusterError(
        f"{running.name} is running without {options}, and nothing was changed; to restart it so "
        "(the data stays): "
        f"tiphys down --name {running.name} && tiphys up --name {running.name} {options}"
    )


def _as_typed(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _check_audit_policy(file: Path) -> None:
    from tiphys.apiserver.audit.policy import load
    from tiphys.machinery.configfiles import ConfigFileError

    try:
        load(file)
    except ConfigFileError as error:
        raise ClusterError(str(error)) from None


def _check_store(cluster: Cluster) -> None:
    store = cluster.store
    if store == "sqlite":
        return
    if store == "etcd":
        if shutil.which("etcd") is None:
            raise ClusterError("--store etcd needs the etcd program: apt-get install etcd-server")
        return
    for endpoint in store.split(","):
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClusterError(
                f"--store {store} is not a store: use sqlite, etcd (a local one), or the "
                "addresses of an etcd cluster "
                "(https://HOST:2379,...)"
            )
    for file in cluster.etcd_tls:
        if not Path(file).is_file():
            raise ClusterError(
                f"{file} of --etcd-tls is not there; give the PEM files of CA, certificate and key"
            )


def _check_profiles(file: Path) -> None:
    from tiphys.scheduler.configuration import ConfigurationError
    from tiphys.scheduler.profiles import read_profiles

    try:
        read_profiles(file)
    except (ConfigurationError, OSError) as error:
        raise ClusterError(f"{file}: {error}") from None


def _check_kubelet_config(file: Path, nodes: int) -> None:
    from tiphys.cluster.nodeprocess import read_kubelet_config
    from tiphys.node.configuration import ConfigurationError

    try:
        configuration = read_kubelet_config(file)
        _check_managers(configuration, nodes)
    except (ConfigurationError, ValueError, OSError) as error:
        raise ClusterError(f"{file}: {error}") from None


def _check_managers(configuration: KubeletConfiguration, nodes: int) -> None:
    """Whether this machine has what its nodes are to give away. Raises ValueError."""
    from tiphys.node.managers import options
    from tiphys.node.managers.discovery import discover
    from tiphys.node.managers.placement import place
    from tiphys.node.resources.capacity import machine_capacity
    from tiphys.node.resources.reservation import kept_back

    settings = configuration.managers
    gives = settings.cpu_policy == options.STATIC or settings.memory_policy == options.MEMORY_STATIC
    if gives and nodes > 1:
        raise ValueError(
            "nodes of one machine would give the same cores and memory away; use --nodes 1, or no "
            "static policy"
        )
    with tempfile.TemporaryDirectory() as folder:
        capacity = machine_capacity(Path(folder))
        kept = kept_back(capacity, settings.reserved(), configuration.eviction_hard)
        place(settings, discover(), kept, Path(folder))


def _check_port(cluster: Cluster) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", cluster.port))
        except OSError as error:
            raise ClusterError(
                f"port {cluster.port} cannot be used ({error.strerror}); choose another with --port"
            ) from None
