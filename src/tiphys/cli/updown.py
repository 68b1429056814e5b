"""`tiphys up` and `tiphys down`: what may be said of a cluster, and its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tiphys.cli.clusters import cluster_name, existing, explained

_FOLDER = click.Path(path_type=Path)


@click.command()
@cluster_name
@click.option(
    "--data-dir",
    type=_FOLDER,
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
    "--scheduler-config", type=_FOLDER, default=None, help="File with a KubeSchedulerConfiguration."
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
    "--kubelet-config", type=_FOLDER, default=None, help="File with a KubeletConfiguration."
)
@click.option(
    "--audit-policy",
    type=_FOLDER,
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
    type=_FOLDER,
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
    "--api-address",
    help="Address of the machines' network that nobody has, for whichever API server is there.",
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


@click.command()
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
