"""`tiphys node`: an agent, a service proxy and a DNS server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tiphys.cli.logs import configure, log_format
from tiphys.cli.process import run_process

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.option("--kubeconfig", type=_FOLDER, required=True)
@click.option(
    "--runtime",
    type=click.Choice(["containerd", "hollow"]),
    default="containerd",
    show_default=True,
)
@click.option("--data-dir", type=_FOLDER, default=Path("/var/lib/tiphys/node"), show_default=True)
@click.option("--name", default="node")
@click.option("--nodes", default=1, help="Number of hollow nodes.")
@click.option(
    "--ca", type=_FOLDER, default=Path(), help="The CA whose client certificates the node accepts."
)
@click.option("--certificate", type=_FOLDER, default=Path(), help="The node's serving certificate.")
@click.option("--key", type=_FOLDER, default=Path(), help="Its key.")
@click.option("--address", default="127.0.0.1")
@click.option(
    "--addresses",
    default="",
    help="Comma-separated addresses of the node, one of each family [default: --address].",
)
@click.option("--port", default=10250, show_default=True)
@click.option("--socket", default="/run/containerd/containerd.sock", show_default=True)
@click.option("--logs", type=_FOLDER, default=Path("/var/log/pods"), show_default=True)
@click.option("--cgroup", default="/tiphys", show_default=True)
@click.option(
    "--pod-cidr",
    default="10.244.0.0/24",
    show_default=True,
    help='Range of its pods; "" for the one that the cluster gives it.',
)
@click.option("--images", type=_FOLDER, default=None, help="A folder on the disk of images.")
@click.option("--config", type=_FOLDER, default=None, help="A KubeletConfiguration.")
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
    type=_FOLDER,
    help="Who may watch all pods, for network policies [default: the node].",
)
@click.option("--domain", default="cluster.local", show_default=True)
@click.option(
    "--pod-routes", default="", help="auto, host or vxlan: how to reach the pods of other machines."
)
@click.option("--pod-link", default="", help="The device with its address among its pods.")
@click.option("--route-metric", default=1, help="Of the routes to other nodes' pods.")
@click.option(
    "--node-certificate", type=_FOLDER, help="Client certificate with key, which it renews itself."
)
@click.option("--policy-certificate", type=_FOLDER, help="The same for --policy-kubeconfig.")
@click.option("--cni", type=_FOLDER, default=Path(), help="Folder for the CNI configuration.")
@click.option("--cni-name", default="", help="Name of the CNI network.")
@click.option("--leases", type=_FOLDER, default=Path(), help="Folder of pods' addresses.")
@click.option("--load-balancer-pools", default="", help="Networks of addresses to announce.")
@click.option("--api-address", default="", help="The address of all API servers, if one is here.")
@click.option("--servers", type=_FOLDER, help="A file to keep the addresses of API servers in.")
@click.option(
    "--machine", type=_FOLDER, help="A file with the labels, taints and size of the node."
)
@log_format
def node(log_format: str, **options: Any) -> None:
    """Run a node: its agent, service proxy and DNS server."""
    from tiphys.cluster.nodeoptions import NodeProcess
    from tiphys.cluster.nodeprocess import run

    configure(log_format)
    run_process(run(NodeProcess(**options)))
