"""Clusters of several machines: `tiphys token`, `join` and `leave`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tiphys.cli.clusters import cluster_name, existing, explained, with_server

FOLDER = click.Path(path_type=Path)


# --- tokens ---


@click.group()
def token() -> None:
    """Let other machines join a cluster."""


@token.command()
@cluster_name
@click.option(
    "--ttl",
    default=None,
    help="How long it lasts; 0: for ever [default: 24h, for the control plane 2h].",
)
@click.option("--description", default="", help="What it is for.")
@click.option(
    "--control-plane",
    is_flag=True,
    help="For a machine that gets an API server and an etcd of the cluster, too.",
)
def create(name: str, ttl: str | None, description: str, control_plane: bool) -> None:
    """Make a token, and print the command that joins a machine with it."""
    from tiphys.cluster import tokens

    with explained():
        cluster = with_server(name)
        seconds = tokens.seconds_of(ttl or ("2h" if control_plane else "24h"))
        tokens.join_command(
            cluster, tokens.CreatedToken(tokens.new())
        )  # refused before anything is made
        make = tokens.create_for_control_plane if control_plane else tokens.create
        click.echo(tokens.join_command(cluster, make(cluster, seconds, description)))


@token.command("list")
@cluster_name
def list_tokens(name: str) -> None:
    """List the tokens that there are."""
    from tiphys.cluster import tokens

    with explained():
        rows = tokens.known(with_server(name))
    click.echo(f"{'TOKEN':<25} {'EXPIRES':<22} {'USAGES':<24} DESCRIPTION")
    for row in rows:
        line = f"{row.token.text:<25} {row.expires:<22} {row.usages:<24} {row.description}"
        click.echo(line.rstrip())


@token.command()
@cluster_name
@click.argument("token")
def delete(name: str, token: str) -> None:
    """Delete a token: nobody can join with it any more. Its id will do."""
    from tiphys.cluster import tokens

    with explained():
        tokens.delete(with_server(name), token)
    click.echo(f"Token {token.partition('.')[0]} is deleted.")


# --- machines ---


@click.command()
@cluster_name
@click.argument("server", required=False)
@click.option("--token", default="", help="As tiphys token create prints it.")
@click.option("--ca-hash", default="", help="Hash of the cluster's authority: sha256:...")
@click.option("--node-name", default="", help="Name of this node [default: the host's name].")
@click.option(
    "--address",
    default="",
    help="Where others reach this machine [default: its address on the way to the server].",
)
@click.option(
    "--data-dir",
    type=FOLDER,
    default=None,
    help="Where everything is kept [default: /var/lib/tiphys/NAME].",
)
@click.option(
    "--control-plane", is_flag=True, help="Have an API server and an etcd of the cluster here, too."
)
@click.option(
    "--certificate-key",
    default="",
    help="Opens the cluster's keys, as tiphys token create --control-plane prints it.",
)
def join(name: str, server: str | None, control_plane: bool, **asked: Any) -> None:
    """Make this machine a node of the cluster whose API server is at SERVER (HOST:PORT).

    On the server, `tiphys token create` prints the whole command. Without SERVER, a machine that
    has joined is started again, as after a reboot.
    """
    from tiphys.cli import join as command
    from tiphys.cluster.joining import Wanted
    from tiphys.cluster.state import ClusterError

    with explained():
        if control_plane != bool(asked["certificate_key"]):
            raise ClusterError("--control-plane and --certificate-key go together")
        command.run(Wanted(name, server or "", **asked))


@click.command()
@cluster_name
@click.option(
    "--timeout", default=300.0, show_default=True, help="Seconds for its pods to go elsewhere."
)
@click.option(
    "--force",
    is_flag=True,
    help="Also end pods that nobody makes again, and leave even if the server does not answer.",
)
def leave(name: str, timeout: float, force: bool) -> None:
    """Take this machine out of its cluster: drain it, delete its Node, leave no trace here."""
    from tiphys.cli import leave as command

    with explained():
        command.run(existing(name), timeout, force)


@click.group()
def machine() -> None:
    """The machines of a cluster."""


@machine.command()
@cluster_name
@click.argument("node")
def remove(name: str, node: str) -> None:
    """Take a machine out of the cluster that is gone for good: its Node, and its etcd's membership
    where it had one. A machine that is there leaves by itself: tiphys leave."""
    from tiphys.cluster import controlplane

    with explained():
        controlplane.remove(with_server(name), node)
    click.echo(f"Machine {node} is removed.")
