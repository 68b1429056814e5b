"""Clusters of several machines: `tiphys token`, `join` and `leave`."""

from __future__ import annotations

from pathlib import Path

import click

from tiphys.cli.clusters import cluster_name, existing, explained, made_here

FOLDER = click.Path(path_type=Path)


# --- tokens ---


@click.group()
def token() -> None:
    """Let other machines join a cluster."""


@token.command()
@cluster_name
@click.option("--ttl", default="24h", show_default=True, help="How long it lasts; 0: for ever.")
@click.option("--description", default="", help="What it is for.")
def create(name: str, ttl: str, description: str) -> None:
    """Make a token, and print the command that joins a machine with it."""
    from tiphys.cluster import tokens

    with explained():
        cluster = made_here(name)
        seconds = tokens.seconds_of(ttl)
        tokens.join_command(cluster, tokens.new())  # refused before anything is made
        made = tokens.create(cluster, seconds, description)
        click.echo(tokens.join_command(cluster, made))


@token.command("list")
@cluster_name
def list_tokens(name: str) -> None:
    """List the tokens that there are."""
    from tiphys.cluster import tokens

    with explained():
        rows = tokens.known(made_here(name))
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
        tokens.delete(made_here(name), token)
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
def join(
    name: str,
    server: str | None,
    token: str,
    ca_hash: str,
    node_name: str,
    address: str,
    data_dir: Path | None,
) -> None:
    """Make this machine a node of the cluster whose API server is at SERVER (HOST:PORT).

    On the server, `tiphys token create` prints the whole command. Without SERVER, a machine that
    has joined is started again, as after a reboot.
    """
    from tiphys.cli import join as command
    from tiphys.cluster.joining import Wanted

    with explained():
        asked = Wanted(name, server or "", token, ca_hash, node_name, address, data_dir)
        command.run(asked)


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
