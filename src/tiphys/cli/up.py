"""`tiphys up`: applies what was asked for to the cluster there is; leaves nothing running when it
fails."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tiphys.cli.progress import Steps
from tiphys.cluster import (
    components,
    containerd,
    encryption,
    kubeconfig,
    preflight,
    publishing,
    readiness,
    removal,
    sandboxes,
    state,
)
from tiphys.cluster import up as cluster_up
from tiphys.cluster.state import Cluster, ClusterError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass
class Asked:
    """The command line. None: as it was, or the default for a new cluster."""

    name: str
    data_dir: Path | None = None
    port: int | None = None
    nodes: int | None = None
    runtime: str | None = None
    store: str | None = None
    etcd_tls: tuple[str, ...] | None = None
    scheduler_config: Path | None = None
    api_workers: int | None = None
    kubelet_config: Path | None = None
    audit_policy: Path | None = None
    ip_family: str | None = None
    certificate_days: float | None = None
    encrypt: bool = False
    encryption_config: Path | None = None
    address: str | None = None
    pod_network: str | None = None
    pod_routes: str | None = None
    load_balancer_pool: tuple[str, ...] = ()
    api_address: str | None = None


def run(asked: Asked, wait: bool) -> None:
    """Raises ClusterError; then nothing of the cluster is running, unless it was before."""
    if not _NAME.fullmatch(asked.name):
        raise ClusterError(
            f"{asked.name!r} cannot be a cluster's name: "
            "use up to 32 lower case letters, digits and hyphens"
        )
    with locked(asked.name):
        existing = state.load(asked.name, asked.data_dir)
        if existing is not None and existing.joined:
            _start_joined(existing)
            return
        cluster = configured(existing, asked)
        if existing is not None and components.is_running(existing):
            preflight.check_unchanged(existing, cluster)
            _already_running(existing, wait)
            return
        preflight.check(cluster)  # before it is recorded
        _report_hollow(cluster, asked)
        with down_on_failure(cluster):
            _start(cluster, wait)


def _start_joined(cluster: Cluster) -> None:
    """A machine that has joined is started as `tiphys join` starts it."""
    from tiphys.cli import join

    if components.is_running(cluster):
        click.echo(f"{cluster.name} is already running as a node of {cluster.server}")
        return
    join.start(cluster)


def configured(existing: Cluster | None, asked: Asked) -> Cluster:
    """The cluster as it was, or a new one, with what the command line changes."""
    if existing is None:
        folder = (asked.data_dir or state.home() / asked.name).absolute()
        cluster = Cluster(asked.name, str(folder), runtime=asked.runtime or _default_runtime())
    else:
        cluster = copy.deepcopy(existing)
    if cluster.name != asked.name:
        raise ClusterError(
            f"{asked.data_dir} belongs to cluster {cluster.name}; choose another --data-dir"
        )
    cluster.port = asked.port or cluster.port
    cluster.runtime = asked.runtime or cluster.runtime
    cluster.store = asked.store or cluster.store
    cluster.nodes = asked.nodes or cluster.nodes
    cluster.ip_family = asked.ip_family or cluster.ip_family
    cluster.certificate_days = asked.certificate_days or cluster.certificate_days
    if asked.address:
        cluster.machine_address, _, cluster.other_address = asked.address.partition(",")
    cluster.pod_network = asked.pod_network or cluster.pod_network
    cluster.pod_routes = asked.pod_routes or cluster.pod_routes
    cluster.api_address = asked.api_address or cluster.api_address
    cluster.pools = list(asked.load_balancer_pool) or cluster.pools
    if asked.etcd_tls:
        cluster.etcd_tls = [str(Path(file).absolute()) for file in asked.etcd_tls]
    if asked.scheduler_config:
        cluster.scheduler_config = str(asked.scheduler_config.absolute())
    if asked.api_workers is not None:
        cluster.api_workers = asked.api_workers
    _configure_encryption(cluster, asked)
    if asked.kubelet_config:
        cluster.kubelet_config = str(asked.kubelet_config.absolute())
    if asked.audit_policy:
        cluster.audit_policy = str(asked.audit_policy.absolute())
    if cluster.runtime == "containerd" and cluster.nodes > sandboxes.MOST:
        raise ClusterError(
            f"at most {sandboxes.MOST} nodes can run containers on one machine; "
            "use --runtime hollow for more"
        )
    return cluster


def _configure_encryption(cluster: Cluster, asked: Asked) -> None:
    if asked.encrypt and asked.encryption_config:
        raise ClusterError(
            "--encrypt makes a configuration, --encryption-config names one: use one of them"
        )
    if asked.encryption_config:
        cluster.encryption_config = str(asked.encryption_config.absolute())
    elif asked.encrypt and not cluster.encryption_config:
        cluster.encryption_config = str(encryption.own_file(cluster))


def _default_runtime() -> str:
    return "hollow" if _hollow_reason() else "containerd"


def _hollow_reason() -> str:
    """Why containers cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "containers need root"
    missing = containerd.missing()
    return f"{', '.join(missing)} must be installed to run containers" if missing else ""


def _report_hollow(cluster: Cluster, asked: Asked) -> None:
    if cluster.runtime != "hollow" or asked.runtime == "hollow":
        return
    reason = _hollow_reason() or "this cluster was made so; --runtime containerd changes it"
    click.echo(
        f"Nodes are hollow: pods go through their life, but nothing runs in them ({reason})."
    )


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds the lock of a cluster's `up`. A second command waits for it, and then finds the cluster
    running."""
    state.home().mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(state.home() / f"{name}.up.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo(f"Another command is bringing {name} up; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def down_on_failure(cluster: Cluster) -> Iterator[None]:
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BaseException:
        # An impatient second Ctrl-C must not leave half of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        removal.down(cluster, purge=False)
        click.echo(
            f"Nothing of {cluster.name} is left running; its data is in {cluster.data_dir}.",
            err=True,
        )
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defers an interruption: a supervisor that was started and not recorded would be found by
    nobody."""
    interrupted = False

    def note(*_: object) -> None:
        nonlocal interrupted
        interrupted = True

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if interrupted:
        raise KeyboardInterrupt


def _start(cluster: Cluster, wait: bool) -> None:
    steps = Steps()
    with steps.step("Certificates and configuration"):
        state.remember(cluster)
        cluster_up.prepare(cluster)
    with steps.step("API server"):
        with uninterrupted():
            cluster_up.start(cluster)
        if cluster.runtime == "containerd":
            readiness.load_pause(cluster)
        readiness.wait_for_server(cluster)
    if cluster.machine_address:
        publishing.publish(cluster)
    path = kubeconfig.merge(cluster)
    if wait:
        _wait(cluster, steps)
    click.echo(
        f"Cluster {cluster.name} is up at {cluster.public_server} after {steps.elapsed():.1f} s. "
        f"Your kubectl context is {cluster.name} ({path})."
    )


def _already_running(cluster: Cluster, wait: bool) -> None:
    path = kubeconfig.merge(cluster)
    if wait:
        readiness.wait_for_server(cluster)
        _wait(cluster, Steps())
    click.echo(
        f"{cluster.name} is already running at {cluster.public_server} "
        f"(context {cluster.name} in {path})"
    )


def _wait(cluster: Cluster, steps: Steps) -> None:
    if cluster.runtime == "none":
        return
    plural = "s" if cluster.nodes > 1 else ""
    with steps.step(f"{cluster.nodes} node{plural} on {cluster.runtime}"):
        readiness.wait_for_nodes(cluster)
        readiness.wait_for_api_address(cluster)
    if cluster.runtime == "containerd":
        pending = readiness.wait_for_pods(cluster)
        if pending:
            click.echo(f"These pods do not run yet: {', '.join(pending)}")
