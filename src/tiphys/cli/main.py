"""`tiphys`: up, down, status, kubeconfig, image, store, machines, and each component alone."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tiphys.cli import keeping, machines
from tiphys.cli.accessflags import (
    authentication_flags,
    authentication_options,
    authorization_flags,
    authorization_options,
)
from tiphys.cli.addon import addon
from tiphys.cli.auditflags import audit_flags, audit_options
from tiphys.cli.clusters import cluster_name, existing, explained
from tiphys.cli.image import image
from tiphys.cli.logs import configure, log_format
from tiphys.cli.monitoring import monitored, serving
from tiphys.cli.policy import policy
from tiphys.cli.process import end_process, run_process
from tiphys.cli.status import kubeconfig, status
from tiphys.cli.store import store

if TYPE_CHECKING:
    from tiphys.client.component import Ending
    from tiphys.client.informer import Informers
    from tiphys.client.monitoring import Endpoint
    from tiphys.client.tasks import TaskGroup

T = TypeVar("T")
FOLDER = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tiphys")
def cli() -> None:
    """Kubernetes, written in Python."""


# --- clusters ---


@cli.command()
@cluster_name
@click.option(
    "--data-dir",
    type=FOLDER,
    default=None,
    help="Where everything is kept [default: /var/lib/tiphys/NAME].",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=None,
    help="Port of the API server [default: 6443].",
)
@click.option(
    "--nodes", type=click.IntRange(1, 10000), default=None, help="Number of nodes [default: 1]."
)
@click.option(
    "--runtime",
    type=click.Choice(["containerd", "hollow", "none"]),
    default=None,
    help="containerd: real containers. hollow: pods that only pretend. none: control plane only.",
)
@click.option(
    "--store", default=None, help="sqlite, etcd (a local one), or https://... of an etcd cluster."
)
@click.option(
    "--etcd-tls",
    nargs=3,
    default=None,
    metavar="CA CERT KEY",
    help="PEM files for an etcd cluster over TLS.",
)
@click.option(
    "--scheduler-config", type=FOLDER, default=None, help="File with a KubeSchedulerConfiguration."
)
@click.option(
    "--ip-family",
    type=click.Choice(["ipv4", "ipv6", "dual", "dual-ipv6"]),
    default=None,
    help="Addresses of pods and services: of one family, or of both, IPv4 (dual) or IPv6 "
    "(dual-ipv6) first [default: ipv4].",
)
@click.option(
    "--api-workers",
    type=click.IntRange(0, 64),
    default=None,
    help="Processes of the API server that serve clients; 0: it does itself.",
)
@click.option(
    "--kubelet-config", type=FOLDER, default=None, help="File with a KubeletConfiguration."
)
@click.option(
    "--audit-policy",
    type=FOLDER,
    default=None,
    help="File with an audit.k8s.io/v1 Policy; what it asks for is written to audit/audit.log in "
    "the cluster's folder.",
)
@click.option(
    "--certificate-days",
    type=click.FloatRange(0, min_open=True),
    default=None,
    help="How long certificates last; they are renewed after two thirds of it [default: 365].",
)
@click.option("--encrypt", is_flag=True, help="Store Secrets encrypted, with a key made for it.")
@click.option(
    "--encryption-config",
    type=FOLDER,
    default=None,
    help="File with an EncryptionConfiguration: what is stored encrypted, with which keys.",
)
@click.option(
    "--address",
    default=None,
    help="Where other machines reach this one, so that they can join: an address of the cluster's "
    "first family, and one of the second after a comma where the machine has one.",
)
@click.option(
    "--pod-network",
    default=None,
    help="Network of the pods of machines that join; with a comma, one of each family [default: "
    "10.244.128.0/17, fd10:244:8000::/48].",
)
@click.option(
    "--pod-routes",
    type=click.Choice(["auto", "host", "vxlan"]),
    default=None,
    help="How machines reach each other's pods. auto: directly on one network, else by VXLAN.",
)
@click.option(
    "--load-balancer-pool",
    multiple=True,
    help="Network of addresses for load balancers; one of the machines' own is announced there.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Wait until the nodes are ready and earlier pods run again.",
)
def up(wait: bool, **asked: Any) -> None:
    """Start a cluster and add it to your kubeconfig.

    A cluster that exists keeps its options; those you give change it, once it is down.
    """
    from tiphys.cli import up as command

    with explained():
        command.run(command.Asked(**asked), wait)


@cli.command()
@cluster_name
@click.option("--purge", is_flag=True, help="Remove its data as well.")
def down(name: str, purge: bool) -> None:
    """Stop a cluster and everything that runs in it.

    Its data stays, so that `tiphys up` continues where it was; --purge removes it.
    """
    from tiphys.cluster import removal

    with explained():
        cluster = existing(name)
        context = removal.down(cluster, purge)
    data = "Its data is gone." if purge else f"Its data stays in {cluster.data_dir}."
    click.echo(f"Cluster {name} is down. {data}")
    if context:
        click.echo(f"Your kubectl context is now {context}.")


# --- components ---


@cli.command()
@click.option(
    "--pki", type=FOLDER, required=True, help="Folder with ca.crt, apiserver.crt/.key, sa.key."
)
@click.option("--data-dir", type=FOLDER, required=True)
@click.option("--bind", default="0.0.0.0", show_default=True)
@click.option("--port", default=6443, show_default=True)
@click.option(
    "--address", default="127.0.0.1", help="Address of this server for clients in the cluster."
)
@click.option(
    "--store",
    default="sqlite",
    show_default=True,
    help="sqlite, memory, or etcd endpoints (http://... or https://...).",
)
@click.option("--etcd-ca", type=FOLDER)
@click.option("--etcd-cert", type=FOLDER)
@click.option("--etcd-key", type=FOLDER)
@click.option("--token-auth-file", type=FOLDER, help='Lines of token,user,uid,"group,...".')
@click.option("--service-cidr", default="10.96.0.0/16", show_default=True)
@click.option(
    "--enable-admission-plugins",
    default="",
    help="Comma-separated names of plugins that are off by default.",
)
@click.option(
    "--disable-admission-plugins", default="", help="Comma-separated names of plugins to disable."
)
@click.option(
    "--admission-control-config-file",
    type=FOLDER,
    help="An AdmissionConfiguration: defaults and exemptions.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Processes that serve clients; 0: the server itself does.",
)
@click.option(
    "--encryption-provider-config",
    type=FOLDER,
    help="An EncryptionConfiguration: which resources are stored encrypted, with which keys.",
)
@click.option(
    "--encryption-provider-config-automatic-reload",
    type=bool,
    default=False,
    show_default=True,
    help="Read that file again when it changes.",
)
@authentication_flags
@authorization_flags
@audit_flags
@log_format
def apiserver(
    pki: Path,
    data_dir: Path,
    bind: str,
    port: int,
    address: str,
    store: str,
    etcd_ca: Path,
    etcd_cert: Path,
    etcd_key: Path,
    token_auth_file: Path,
    service_cidr: str,
    enable_admission_plugins: str,
    disable_admission_plugins: str,
    admission_control_config_file: Path | None,
    workers: int,
    encryption_provider_config: Path | None,
    encryption_provider_config_automatic_reload: bool,
    log_format: str,
    **more: Any,
) -> None:
    """Run the API server."""
    from tiphys import addons
    from tiphys.apiserver.main import Options, run
    from tiphys.cluster.supervisor import LISTENING, READY
    from tiphys.store.engine import StoreError

    configure(log_format)
    kubelet_certificate = pki / "apiserver-kubelet-client.crt"
    kubelet_key = pki / "apiserver-kubelet-client.key"
    try:
        authentication = authentication_options(more)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    options = Options(
        pki / "apiserver.crt",
        pki / "apiserver.key",
        pki / "ca.crt",
        pki / "sa.key",
        data_dir,
        bind,
        port,
        address,
        store,
        (etcd_ca, etcd_cert, etcd_key) if etcd_ca else None,
        token_auth_file,
        kubelet_certificate if kubelet_certificate.exists() else None,
        kubelet_key if kubelet_key.exists() else None,
        service_cidr=service_cidr,
        front_proxy=_front_proxy(pki),
        enable_admission=_names(enable_admission_plugins),
        disable_admission=_names(disable_admission_plugins),
        admission_config=admission_control_config_file,
        workers=workers,
        log_format=log_format,
        inherited=int(os.environ[LISTENING]) if LISTENING in os.environ else None,
        ready=int(os.environ[READY]) if READY in os.environ else None,
        encryption_config=encryption_provider_config,
        encryption_reload=encryption_provider_config_automatic_reload,
        audit=audit_options(more),
        authentication=authentication,
        authorization=authorization_options(more),
    )
    try:
        run_process(run(options, addons.served_groups()))
    except (StoreError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@cli.command("apiserver-worker", hidden=True)
@click.argument("stream", type=int)
@click.argument("door", type=int)
@click.argument("published", type=int)
@log_format
def apiserver_worker(stream: int, door: int, published: int, log_format: str) -> None:
    """A process of an API server, started by it with open descriptors."""
    from tiphys import addons
    from tiphys.apiserver.main import run_worker
    from tiphys.store.engine import StoreError

    configure(log_format)
    try:
        run_process(run_worker(stream, door, published, addons.served_groups()))
    except (StoreError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


def _names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _front_proxy(folder: Path) -> tuple[Path, Path, Path] | None:
    """(CA, certificate, key) for requests to aggregated servers, when they are all there."""
    stem = folder / "front-proxy" / "front-proxy-client"
    files = (stem.with_name("ca.crt"), stem.with_suffix(".crt"), stem.with_suffix(".key"))
    return files if all(path.exists() for path in files) else None


def _profiles(config: Path | None) -> Any:
    from tiphys.scheduler.configuration import ConfigurationError, Profile
    from tiphys.scheduler.profiles import read_profiles

    try:
        return read_profiles(config) if config is not None else [Profile()]
    except (ConfigurationError, OSError) as error:
        raise click.ClickException(f"{config}: {error}") from None


@cli.command()
@click.option("--kubeconfig", type=FOLDER, required=True)
@click.option(
    "--scheduler-kubeconfig",
    type=FOLDER,
    default=None,
    help="Run the scheduler in this process, too, as this identity.",
)
@click.option("--ca", type=FOLDER, required=True, help="The CA certificate that pods are given.")
@click.option("--leader-elect", type=bool, default=True, show_default=True)
@click.option(
    "--ca-key",
    type=FOLDER,
    default=None,
    help="The key of the CA, which signs certificate requests.",
)
@click.option("--cluster-cidr", default="", help="Pod networks of which nodes are given ranges.")
@click.option("--service-cluster-ip-range", default="", help="Networks that are kept from pods.")
@click.option(
    "--server-certificate",
    type=FOLDER,
    default=None,
    help="Of the API server: no node is given a certificate for its names.",
)
@click.option("--scheduler-config", type=FOLDER, default=None, help="A KubeSchedulerConfiguration.")
@click.option(
    "--scheduler-secure-port",
    default=10259,
    show_default=True,
    help="Where the metrics of the scheduler in this process are served.",
)
@click.option(
    "--load-balancer-pools",
    default="",
    help="Comma-separated networks of addresses for services of type LoadBalancer.",
)
@monitored(10257)
@log_format
def controllers(
    kubeconfig: Path,
    scheduler_kubeconfig: Path | None,
    ca: Path,
    leader_elect: bool,
    ca_key: Path | None,
    cluster_cidr: str,
    service_cluster_ip_range: str,
    server_certificate: Path | None,
    scheduler_config: Path | None,
    log_format: str,
    scheduler_secure_port: int,
    load_balancer_pools: str,
    endpoint: Endpoint | None,
) -> None:
    """Run the controllers."""
    from tiphys import addons
    from tiphys.client.client import Client
    from tiphys.client.component import lead_and_run
    from tiphys.client.config import load
    from tiphys.client.exposition import component_registry
    from tiphys.client.metrics import ComponentMetrics
    from tiphys.cluster.certificates import names_of
    from tiphys.controllers.main import run_controllers

    configure(log_format)
    profiles = _profiles(scheduler_config) if scheduler_kubeconfig is not None else []

    async def main() -> Ending:
        metrics = ComponentMetrics(component_registry())
        client = Client(load(kubeconfig), "tiphys-controllers", metrics)
        async with client, serving(client, endpoint), contextlib.AsyncExitStack() as stack:

            async def start(tasks: TaskGroup) -> Informers:
                key = ca_key.read_text() if ca_key else ""
                machines = {
                    "pod_networks": _names(cluster_cidr),
                    "service_networks": _names(service_cluster_ip_range),
                    "server_names": names_of(server_certificate),
                }
                informers = await run_controllers(
                    client,
                    tasks,
                    ca.read_text(),
                    key,
                    addons.controllers(),
                    load_balancer_pools,
                    machines,
                )
                if scheduler_kubeconfig is not None:
                    from tiphys.scheduler.main import Scheduler

                    metrics = ComponentMetrics(component_registry())
                    other = await stack.enter_async_context(
                        Client(load(scheduler_kubeconfig), "tiphys-scheduler", metrics)
                    )
                    if endpoint is not None:
                        place = replace(endpoint, port=scheduler_secure_port)
                        await stack.enter_async_context(serving(other, place))
                    scheduler = Scheduler(other, tasks, profiles, informers, metrics.registry)
                    tasks.start(scheduler.run(), "scheduler", vital=True)
                return informers

            return await lead_and_run(client, "kube-controller-manager", leader_elect, start)

    end_process(run_process(main()))


@cli.command()
@click.option("--kubeconfig", type=FOLDER, default=None, help="Default: that of the pod it is in.")
@click.option("--data-dir", type=FOLDER, default=Path("/data"), show_default=True)
@click.option(
    "--only", default="", help="Run this add-on alone, with the identity of the kubeconfig."
)
@click.option("--settings", default="{}", help="Its settings as JSON, with --only.")
@monitored(0)
@log_format
def addons(
    kubeconfig: Path | None,
    data_dir: Path,
    only: str,
    settings: str,
    log_format: str,
    endpoint: Endpoint | None,
) -> None:
    """Run the enabled add-ons."""
    from tiphys.addons import OPTIONAL, host
    from tiphys.client.client import Client
    from tiphys.client.component import lead_and_run
    from tiphys.client.config import load
    from tiphys.client.exposition import component_registry
    from tiphys.client.informer import Informers
    from tiphys.client.metrics import ComponentMetrics

    configure(log_format)

    async def main() -> Ending:
        metrics = ComponentMetrics(component_registry())
        client = Client(load(kubeconfig), "tiphys-addons", metrics)
        async with client, serving(client, endpoint):

            async def start(tasks: TaskGroup) -> Informers:
                if not only:
                    return host.Host(client, OPTIONAL, data_dir, tasks).start()
                work = host.run_alone(client, OPTIONAL[only], json.loads(settings), data_dir, tasks)
                tasks.start(work, only, vital=True)
                return Informers(client, tasks)

            return await lead_and_run(client, "tiphys-addons", False, start)

    end_process(run_process(main()))


@cli.command()
@click.option("--kubeconfig", type=FOLDER, required=True)
@click.option("--leader-elect", type=bool, default=True, show_default=True)
@click.option("--config", type=FOLDER, default=None, help="A KubeSchedulerConfiguration.")
@monitored(10259)
@log_format
def scheduler(
    kubeconfig: Path,
    leader_elect: bool,
    config: Path | None,
    log_format: str,
    endpoint: Endpoint | None,
) -> None:
    """Run the scheduler."""
    from tiphys.client.client import Client
    from tiphys.client.component import lead_and_run
    from tiphys.client.config import load
    from tiphys.client.exposition import component_registry
    from tiphys.client.informer import Informers
    from tiphys.client.metrics import ComponentMetrics
    from tiphys.scheduler.main import Scheduler

    configure(log_format)
    wanted = _profiles(config)

    async def main() -> Ending:
        metrics = ComponentMetrics(component_registry())
        client = Client(load(kubeconfig), "tiphys-scheduler", metrics)
        async with client, serving(client, endpoint):

            async def start(tasks: TaskGroup) -> Informers:
                informers = Informers(client, tasks)
                scheduler = Scheduler(client, tasks, wanted, informers, metrics.registry)
                tasks.start(scheduler.run(), "scheduler", vital=True)
                return informers

            return await lead_and_run(client, "kube-scheduler", leader_elect, start)

    end_process(run_process(main()))


@cli.command()
@click.option("--kubeconfig", type=FOLDER, required=True)
@click.option(
    "--runtime",
    type=click.Choice(["containerd", "hollow"]),
    default="containerd",
    show_default=True,
)
@click.option("--data-dir", type=FOLDER, default=Path("/var/lib/tiphys/node"), show_default=True)
@click.option("--name", default="node")
@click.option("--nodes", default=1, help="Number of hollow nodes.")
@click.option(
    "--ca", type=FOLDER, default=Path(), help="The CA whose client certificates the node accepts."
)
@click.option("--certificate", type=FOLDER, default=Path(), help="The node's serving certificate.")
@click.option("--key", type=FOLDER, default=Path(), help="Its key.")
@click.option("--address", default="127.0.0.1")
@click.option(
    "--addresses",
    default="",
    help="Comma-separated addresses of the node, one of each family [default: --address].",
)
@click.option("--port", default=10250, show_default=True)
@click.option("--socket", default="/run/containerd/containerd.sock", show_default=True)
@click.option("--logs", type=FOLDER, default=Path("/var/log/pods"), show_default=True)
@click.option("--cgroup", default="/tiphys", show_default=True)
@click.option(
    "--pod-cidr",
    default="10.244.0.0/24",
    show_default=True,
    help='Range of its pods; "" for the one that the cluster gives it.',
)
@click.option("--images", type=FOLDER, default=None, help="A folder on the disk of images.")
@click.option("--config", type=FOLDER, default=None, help="A KubeletConfiguration.")
@click.option(
    "--cluster-cidr",
    default="",
    help="Comma-separated pod networks of all nodes [default: the node's own].",
)
@click.option("--service-cidr", default="10.96.0.0/16", show_default=True)
@click.option(
    "--forward-dns",
    default="",
    help="Name server for names outside the cluster [default: the machine's].",
)
@click.option(
    "--dns", default="10.96.0.10", show_default=True, help="Cluster IP of the DNS service."
)
@click.option("--table", default="tiphys", show_default=True, help="Name of the nftables table.")
@click.option(
    "--policy-kubeconfig",
    type=FOLDER,
    help="Who may watch all pods, for network policies [default: the node].",
)
@click.option("--domain", default="cluster.local", show_default=True)
@click.option(
    "--pod-routes", default="", help="auto, host or vxlan: how to reach the pods of other machines."
)
@click.option("--pod-link", default="", help="The device with its address among its pods.")
@click.option("--route-metric", default=1, help="Of the routes to other nodes' pods.")
@click.option(
    "--node-certificate", type=FOLDER, help="Client certificate with key, which it renews itself."
)
@click.option("--policy-certificate", type=FOLDER, help="The same for --policy-kubeconfig.")
@click.option("--cni", type=FOLDER, default=Path(), help="Folder for the CNI configuration.")
@click.option("--cni-name", default="", help="Name of the CNI network.")
@click.option("--leases", type=FOLDER, default=Path(), help="Folder of pods' addresses.")
@click.option("--load-balancer-pools", default="", help="Networks of addresses to announce.")
@click.option("--servers", type=FOLDER, help="A file to keep the addresses of API servers in.")
@log_format
def node(log_format: str, **options: Any) -> None:
    """Run a node: its agent, service proxy and DNS server."""
    from tiphys.cluster.nodeoptions import NodeProcess
    from tiphys.cluster.nodeprocess import run

    configure(log_format)
    run_process(run(NodeProcess(**options)))


cli.add_command(addon)
cli.add_command(image)
cli.add_command(policy)
for command in keeping.COMMANDS:
    cli.add_command(command)
cli.add_command(status)
cli.add_command(kubeconfig)
cli.add_command(store)
cli.add_command(machines.token)
cli.add_command(machines.join)
cli.add_command(machines.leave)
cli.add_command(machines.machine)


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
